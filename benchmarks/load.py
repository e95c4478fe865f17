"""N live sessions with real-time speech against a running server: frames, repeats, latency from sound to picture.

    being serve &
    python benchmarks/load.py --sessions 1 --sessions 2 --sessions 4 --largest --json load.json --plot load.png
    python benchmarks/load.py --sessions 16 --sessions 32 --sessions 64 --sessions 96 --processes 8 --arrival-s 0.05 \\
        --settle-s 3 --until-it-gives --distinct 24.8 --repeated 0.005 --p95 100 --json ramp.json --curve ramp.png

Everything is measured from outside. A frame's processing latency runs from the moment the client sent the last sound
the frame is drawn from (its look-ahead included, which is stated beside it) to the moment the frame was here; it
finds its own words in the sound that comes back, so no clock and no statement of the server's is trusted. Repeats are
pictures that decode exactly like the one before, or the server's own count where that is higher: an encoder polishes a
picture that is shown again. What the clients themselves were late with their sound is in the latency, and stated.
"""

from __future__ import annotations

import json
import re
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import load_plots
import numpy as np
from load_clients import Plan, Result, run
from machine import GpuWatch, Meanwhile, facts

from being.media.reading.sound_reader import open_sound

STAGES = ("sound", "wait", "graph", "draw", "encode")
SAMPLE = Path(__file__).parent.parent / "being" / "samples" / "hello.wav"


@dataclass(frozen=True)
class Bounds:
    """What a run must keep to hold: each session's distinct frames and repeats, and the p95 of all frames together."""

    distinct_per_s: float
    repeated_share: float
    p95_ms: float | None

    def kept(self, results: Sequence[Result], p95: float) -> bool:
        return all(
            one.distinct_per_s >= self.distinct_per_s and one.repeated_share <= self.repeated_share for one in results
        ) and (self.p95_ms is None or p95 <= self.p95_ms)


@click.command()
@click.option(
    "--url", "urls", default=("ws://127.0.0.1:8000",), multiple=True, show_default=True, help="Several: in turn."
)
@click.option("--avatar", "avatars", default=("demo",), multiple=True, show_default=True, help="Several: in turn.")
@click.option("--sessions", default=(1,), multiple=True, show_default=True, help="May be repeated: one after another.")
@click.option("--seconds", default=60.0, show_default=True, help="Of each session.")
@click.option("--size", metavar="WxH", default="512x512", show_default=True)
@click.option("--largest", is_flag=True, help="Go down from --size until all sessions are admitted and hold.")
@click.option("--until-it-gives", is_flag=True, help="End after the first number of sessions that does not hold.")
@click.option(
    "--distinct", default=24.5, show_default=True, help="Distinct frames a second that each session must have."
)
@click.option("--repeated", default=0.01, show_default=True, help="Share of repeated frames that it may have.")
@click.option("--p95", type=float, help="Latency in ms that 95 % of all frames must keep  [default: any].")
@click.option(
    "--speech", type=click.Path(path_type=Path), default=SAMPLE, help="Said again and again, a pause between."
)
@click.option("--chunk-ms", default=20.0, show_default=True, help="Sound sent at a time.")
@click.option(
    "--refine", type=click.FloatRange(0, 1), help="Strength of the refiner asked for  [default: the server's]."
)
@click.option("--processes", default=1, show_default=True, help="Of clients; a dozen sessions each is easy for one.")
@click.option("--arrival-s", default=0.37, show_default=True, help="Seconds between two arrivals.")
@click.option("--settle-s", type=float, help="Judge from so long after the last arrival on  [default: all].")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here.")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Latencies over time and their distribution (needs matplotlib)."
)
@click.option("--curve", type=click.Path(path_type=Path), help="Latency, CPU and GPU over the number of sessions.")
def main(
    urls: tuple[str, ...],
    avatars: tuple[str, ...],
    sessions: tuple[int, ...],
    seconds: float,
    size: str,
    largest: bool,
    until_it_gives: bool,
    distinct: float,
    repeated: float,
    p95: float | None,
    speech: Path,
    chunk_ms: float,
    refine: float | None,
    processes: int,
    arrival_s: float,
    settle_s: float | None,
    json_path: Path | None,
    plot: Path | None,
    curve: Path | None,
) -> None:
    """Measure live sessions."""
    sound = open_sound(speech).model_pcm()
    bounds = Bounds(distinct, repeated, p95)
    report: dict[str, Any] = {"command": " ".join(["python", *sys.argv]), "machine": facts(), "runs": []}
    curves: dict[str, Sequence[float]] = {}
    if settle_s is not None and (needed := arrival_s * (max(sessions) - 1) + settle_s) >= seconds - 1:
        raise click.UsageError(f"nothing is left to judge: --seconds must be more than {needed + 1:.0f}")
    for count in sessions:
        for width, height in _sizes(size) if largest else [_parsed(size)]:
            addresses = [
                f"{urls[number % len(urls)]}/v1/avatars/{avatars[number % len(avatars)]}/live"
                f"?format=mp4&width={width}&height={height}" + (f"&refine={refine:g}" if refine is not None else "")
                for number in range(count)
            ]
            click.echo(f"\n{count} x {width}x{height}")
            plan = Plan(addresses, sound, seconds, chunk_ms / 1000, arrival_s, settle_s)
            measured, of_sessions = _measured(plan, urls[0], processes, bounds)
            asked = {"size": f"{width}x{height}", "avatars": min(count, len(avatars)), "refine": refine}
            report["runs"].append(asked | measured)
            if json_path is not None:
                json_path.write_text(json.dumps(report, indent=2) + "\n")
            if curve is not None:
                load_plots.over_sessions(report["runs"], curve)
            if measured["holds"] or not largest:
                titles = (f"{count} x {width}x{height}, session {number + 1}" for number in range(count))
                curves |= dict(zip(titles, of_sessions, strict=False))
                break
        if until_it_gives and not report["runs"][-1]["holds"]:
            click.echo(f"{count} sessions do not hold")
            break
    if plot is not None and curves:
        load_plots.over_time(curves, plot)


def _parsed(size: str) -> tuple[int, int]:
    width, _, height = size.partition("x")
    return int(width), int(height)


def _sizes(size: str) -> Iterator[tuple[int, int]]:
    """From `size` down in steps of a fifth, rounded to eight pixels, to about a hundred."""
    width, height = _parsed(size)
    for steps in range(7):
        scale = 0.8**steps
        yield round(width * scale / 8) * 8, round(height * scale / 8) * 8


def _measured(plan: Plan, url: str, processes: int, bounds: Bounds) -> tuple[dict[str, Any], list[Sequence[float]]]:
    sessions = len(plan.addresses)
    stages_before, ticks_before = _stages(url), _ticks(url)
    outcomes, machine = run(plan, processes, lambda: _machine(plan))
    stages = _mean_ms(stages_before, _stages(url))
    ticks = {name: value - ticks_before.get(name, 0.0) for name, value in _ticks(url).items()}
    results, curves = [], []
    for outcome in outcomes:
        if outcome.refused is not None:
            click.echo(f"session {outcome.number + 1} was refused: {outcome.refused}")
        elif outcome.result is None:
            click.echo(f"session {outcome.number + 1} cannot be judged: {outcome.unjudged}")
        else:
            results.append(outcome.result)
            curves.append(outcome.curve)
    _table(results)
    together = _together(results, curves)
    click.echo("together: " + ", ".join(f"{name} {value}" for name, value in together.items()))
    click.echo("mean ms of a tick by stage: " + ", ".join(f"{stage} {value:.1f}" for stage, value in stages.items()))
    click.echo(f"stolen by the host: {machine['stolen_percent']} %, idle: {machine['idle_percent']} %")
    click.echo("CPU ms a second: " + ", ".join(f"{row} {value:.0f}" for row, value in machine["cpu_ms_per_s"].items()))
    holds = len(results) == sessions > 0 and bounds.kept(results, together["p95"])
    measured = {
        "asked": sessions,
        "admitted": sessions - sum(outcome.refused is not None for outcome in outcomes),
        "holds": holds,
        "bounds": asdict(bounds),
        "seconds": plan.seconds,
        "judged_from_s": plan.judged_from_s,
        "together": together,
        "meanwhile": machine,
        "stages_ms": stages,
        "ticks": ticks,
        "sessions": [asdict(result) for result in results],
    }
    return measured, curves


def _machine(plan: Plan) -> dict[str, Any]:
    """What the machine does in the time that is judged."""
    time.sleep(plan.judged_from_s)
    meanwhile, gpu, begun = Meanwhile(), GpuWatch(), time.monotonic()
    time.sleep(plan.seconds - plan.judged_from_s)
    return meanwhile.report(time.monotonic() - begun) | gpu.end()


def _together(results: Sequence[Result], curves: Sequence[Sequence[float]]) -> dict[str, float]:
    """The percentiles of all frames, and the worst session of each kind."""
    if not results:
        return {}
    p50, p95, p99 = np.percentile(np.concatenate([np.asarray(curve) for curve in curves]), (50, 95, 99))
    return {
        "p50": round(float(p50), 1),
        "p95": round(float(p95), 1),
        "p99": round(float(p99), 1),
        "least_distinct_per_s": round(min(one.distinct_per_s for one in results), 3),
        "mean_distinct_per_s": round(float(np.mean([one.distinct_per_s for one in results])), 3),
        "most_repeated_share": round(max(one.repeated_share for one in results), 4),
        "worst_p95": round(max(one.p95 for one in results), 1),
        "client_late_p99": round(max(one.client_late_p99 for one in results), 1),
    }


def _metrics(url: str) -> str:
    """The server's /metrics; empty where they cannot be had."""
    try:
        with urllib.request.urlopen(f"{url.replace('ws', 'http', 1)}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
    except OSError:
        return ""
    return text


def _ticks(url: str) -> dict[str, float]:
    """Ticks of all workers until now: all, late ones, failed ones, and those that got less of the refiner."""
    ticks: dict[str, float] = {}
    for kind, value in re.findall(
        r"^being_(?:(late|failed|faded)_)?ticks_total(?:{.*?})? (\S+)$", _metrics(url), re.MULTILINE
    ):
        name = kind or "all"
        ticks[name] = ticks.get(name, 0.0) + float(value)
    return ticks


def _stages(url: str) -> dict[str, tuple[float, float]]:
    """Seconds and number of ticks by stage, as the server's /metrics count them; empty where they cannot be had."""
    text = _metrics(url)
    stages: dict[str, tuple[float, float]] = {}
    # Of one worker, or of all with a label for each.
    for kind, labels, value in re.findall(r"^being_stage_seconds_(sum|count){(.*?)} (\S+)$", text, re.MULTILINE):
        stage = re.findall(r'\bstage="(\w+)"', labels)[0]
        seconds, count = stages.get(stage, (0.0, 0.0))
        stages[stage] = (seconds + float(value), count) if kind == "sum" else (seconds, count + float(value))
    return stages


def _mean_ms(before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]) -> dict[str, float]:
    """sound: arrived sound waits; wait: the tick waits; graph: the pass, of which `draw` is the renderer's; encode."""
    means = {}
    for stage in sorted(after, key=lambda stage: STAGES.index(stage) if stage in STAGES else len(STAGES)):
        seconds, count = (new - old for new, old in zip(after[stage], before.get(stage, (0.0, 0.0)), strict=True))
        if count > 0:  # fewer than before: another worker's
            means[stage] = round(1000 * seconds / count, 1)
    return means


def _table(results: list[Result]) -> None:
    head = (
        "session",
        "frames",
        "distinct/s",
        "repeated",
        "missing",
        "late",
        "p50",
        "p95",
        "p99",
        "look-ahead",
        "sound",
    )
    click.echo(" ".join(f"{title:>10}" for title in head))
    for number, one in enumerate(results):
        cells = (
            str(number + 1),
            str(one.frames),
            f"{one.distinct_per_s:.2f}",
            f"{100 * one.repeated_share:.1f} %",
            str(one.missing),
            f"{100 * one.late_share:.1f} %",
            f"{one.p50:.0f} ms",
            f"{one.p95:.0f} ms",
            f"{one.p99:.0f} ms",
            f"{one.look_ahead_ms:.0f} ms",
            f"{one.sound_match:.3f}",
        )
        click.echo(" ".join(f"{cell:>10}" for cell in cells))


if __name__ == "__main__":
    main()
