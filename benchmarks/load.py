"""N live sessions with real-time speech against a running server: frames, repeats, latency from sound to picture.

    being serve &
    python benchmarks/load.py --sessions 1 --sessions 2 --sessions 4 --largest --json load.json --plot load.png

Everything is measured from outside. A frame's processing latency runs from the moment the client sent the last sound
the frame is drawn from (its look-ahead included, which is stated beside it) to the moment the frame was here; it
finds its own words in the sound that comes back, so no clock and no statement of the server's is trusted. Repeats are
pictures that decode exactly like the one before, or the server's own count where that is higher: an encoder polishes a
picture that is shown again.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from live_client import FPS, RATE, Recording, alignment, converse, decoded, frame_arrivals, latencies
from machine import Meanwhile, facts

from being.media.reading.sound_reader import open_sound

SAMPLE = Path(__file__).parent.parent / "being" / "samples" / "hello.wav"
LATE_MS = 120.0
HOLDS_FPS, HOLDS_REPEATS = 24.5, 0.01


@dataclass(frozen=True)
class Result:
    """One session. Latencies in milliseconds."""

    frames: int
    distinct_per_s: float
    repeated_share: float
    missing: int
    late_share: float
    p50: float
    p95: float
    p99: float
    look_ahead_ms: float
    sound_match: float
    server_p95: float | None


@click.command()
@click.option("--url", default="ws://127.0.0.1:8000", show_default=True)
@click.option("--avatar", default="demo", show_default=True)
@click.option("--sessions", default=(1,), multiple=True, show_default=True, help="May be repeated: one after another.")
@click.option("--seconds", default=60.0, show_default=True)
@click.option("--size", metavar="WxH", default="512x512", show_default=True)
@click.option("--largest", is_flag=True, help="Go down from --size until all sessions are admitted and hold 24.5 fps.")
@click.option(
    "--speech", type=click.Path(path_type=Path), default=SAMPLE, help="Said again and again, a pause between."
)
@click.option("--chunk-ms", default=20.0, show_default=True, help="Sound sent at a time.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here.")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Latencies over time and their distribution (needs matplotlib)."
)
def main(
    url: str,
    avatar: str,
    sessions: tuple[int, ...],
    seconds: float,
    size: str,
    largest: bool,
    speech: Path,
    chunk_ms: float,
    json_path: Path | None,
    plot: Path | None,
) -> None:
    """Measure live sessions."""
    sound = open_sound(speech).model_pcm()
    report: dict[str, Any] = {"command": " ".join(["python", *sys.argv]), "machine": facts(), "runs": []}
    curves: dict[str, list[float]] = {}
    for count in sessions:
        for width, height in _sizes(size) if largest else [_parsed(size)]:
            address = f"{url}/v1/avatars/{avatar}/live?format=mp4&width={width}&height={height}"
            click.echo(f"\n{count} x {width}x{height}")
            run, of_sessions = _measured(address, url, sound, count, seconds, chunk_ms / 1000)
            report["runs"].append({"size": f"{width}x{height}", **run})
            if json_path is not None:
                json_path.write_text(json.dumps(report, indent=2) + "\n")
            if run["holds"] or not largest:
                titles = (f"{count} x {width}x{height}, session {number + 1}" for number in range(count))
                curves |= dict(zip(titles, of_sessions, strict=False))
                break
    if plot is not None and curves:
        _plot(curves, plot)


def _parsed(size: str) -> tuple[int, int]:
    width, _, height = size.partition("x")
    return int(width), int(height)


def _sizes(size: str) -> Iterator[tuple[int, int]]:
    """From `size` down in steps of a fifth, rounded to eight pixels, to about a hundred."""
    width, height = _parsed(size)
    for steps in range(7):
        scale = 0.8**steps
        yield round(width * scale / 8) * 8, round(height * scale / 8) * 8


def _measured(
    address: str, url: str, sound: Any, sessions: int, seconds: float, chunk_s: float
) -> tuple[dict[str, Any], list[list[float]]]:
    stages_before = _stages(url)
    meanwhile, started = Meanwhile(), time.monotonic()
    recordings = asyncio.run(_all(address, sound, sessions, seconds, chunk_s))
    machine = meanwhile.report(time.monotonic() - started)
    stages = _mean_ms(stages_before, _stages(url))
    results, curves = [], []
    for number, recording in enumerate(recordings):
        if recording.refused is not None:
            click.echo(f"session {number + 1} was refused: {recording.refused['detail']}")
            continue
        try:
            result, curve = _judge(recording)
        except ValueError as error:
            click.echo(f"session {number + 1} cannot be judged: {error}")
            continue
        results.append(result)
        curves.append(curve)
    _table(results)
    click.echo("mean ms of a tick by stage: " + ", ".join(f"{stage} {value:.1f}" for stage, value in stages.items()))
    click.echo(f"stolen by the host: {machine['stolen_percent']} %, idle: {machine['idle_percent']} %")
    click.echo("CPU ms a second: " + ", ".join(f"{row} {value:.0f}" for row, value in machine["cpu_ms_per_s"].items()))
    holds = len(results) == sessions and all(
        one.distinct_per_s >= HOLDS_FPS and one.repeated_share <= HOLDS_REPEATS for one in results
    )
    run = {
        "asked": sessions,
        "holds": holds,
        "seconds": seconds,
        "meanwhile": machine,
        "stages_ms": stages,
        "sessions": [asdict(result) for result in results],
    }
    return run, curves


async def _all(url: str, sound: Any, sessions: int, seconds: float, chunk_s: float) -> list[Recording]:
    async def one(number: int) -> Recording:
        await asyncio.sleep(0.37 * number)  # people do not arrive together, nor speak in step
        pause = np.zeros(round(0.8 * RATE), np.float32)
        round_ = np.concatenate([sound, pause])
        times = int(np.ceil(seconds * RATE / len(round_))) + 1
        speech = np.roll(np.tile(round_, times), number * 7919)
        # A touch of noise that never repeats makes the place of every word certain.
        noise = np.random.default_rng(number).normal(0, 3e-3, len(speech)).astype(np.float32)
        return await converse(url, speech + noise, seconds, chunk_s)

    return list(await asyncio.gather(*(one(number) for number in range(sessions))))


def _stages(url: str) -> dict[str, tuple[float, float]]:
    """Seconds and number of ticks by stage, as the server's /metrics count them; empty where they cannot be had."""
    try:
        with urllib.request.urlopen(f"{url.replace('ws', 'http', 1)}/metrics", timeout=30) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    found = re.findall(r'^being_stage_seconds_(sum|count){stage="(\w+)"} (\S+)$', text, re.MULTILINE)
    values = {(kind, stage): float(value) for kind, stage, value in found}
    return {stage: (values["sum", stage], values["count", stage]) for kind, stage in values if kind == "sum"}


def _mean_ms(before: dict[str, tuple[float, float]], after: dict[str, tuple[float, float]]) -> dict[str, float]:
    """sound: arrived sound waits; wait: the tick waits; graph: the pass, of which `draw` is the renderer's; encode."""
    means = {}
    for stage in sorted(after, key=["sound", "wait", "graph", "draw", "encode"].index):
        seconds, count = (new - old for new, old in zip(after[stage], before.get(stage, (0.0, 0.0)), strict=True))
        if count:
            means[stage] = round(1000 * seconds / count, 1)
    return means


def _judge(recording: Recording) -> tuple[Result, list[float]]:
    arrivals = frame_arrivals(recording)
    frames, same, heard = decoded(recording.stream)
    if not frames or not recording.sent:
        raise ValueError("nothing was to be seen")
    stats = recording.last_stats()
    repeats = max(same, stats.get("repeats", 0))
    said = recording.speech[: recording.sent[-1][1]]
    offsets, match = alignment(said, heard)
    curve = [1000 * value for value in latencies(recording, arrivals, offsets).values()]
    if not curve:
        raise ValueError("its own words were not found in the sound that came back")
    span = (max(frames) - min(frames) + 1) / FPS
    p50, p95, p99 = (float(value) for value in np.percentile(curve, (50, 95, 99)))
    return (
        Result(
            frames=len(frames),
            distinct_per_s=(len(frames) - repeats) / span,
            repeated_share=repeats / len(frames),
            missing=max(frames) - min(frames) + 1 - len(frames),
            late_share=float(np.mean(np.array(curve) > LATE_MS)),
            p50=p50,
            p95=p95,
            p99=p99,
            look_ahead_ms=recording.ready["look_ahead_ms"],
            sound_match=match,
            server_p95=(stats.get("latency_ms") or {}).get("p95"),
        ),
        curve,
    )


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


def _plot(curves: dict[str, list[float]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (over_time, spread) = pyplot.subplots(1, 2, figsize=(11, 4), width_ratios=(2, 1), sharey=True)
    for title, curve in curves.items():
        over_time.plot(np.arange(len(curve)) / FPS, curve, linewidth=0.8, label=title)
    spread.hist(np.concatenate(list(curves.values())), bins=60, orientation="horizontal", color="0.4")
    over_time.axhline(LATE_MS, color="tab:red", linewidth=0.8, linestyle="--")
    over_time.set(xlabel="seconds", ylabel="sound sent to frame received, ms", ylim=(0, None))
    over_time.legend(loc="upper right", fontsize="small")
    spread.set(xlabel="frames")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
