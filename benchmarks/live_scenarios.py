"""What live sessions get from `being serve` in several settings: one GPU, refiners, full HD, two and four GPUs.

    python benchmarks/live_scenarios.py --list
    python benchmarks/live_scenarios.py one-64 one-80 full-hd --json live.json --deadline 540
    python benchmarks/live_scenarios.py refine-native --refined AVATAR --json refine.json
    python benchmarks/live_scenarios.py one-64 --mini --json mini.json                  # on a small machine
    CUDA_VISIBLE_DEVICES=3 taskset -c 48-63 python benchmarks/live_scenarios.py one-64  # on a part of a large one

Each scenario is a server and the loads it gets (`benchmarks/load.py`, on the same processors); those that follow each
other and want the same server share it. Admission is off. A short load comes before the first of each kind, for kernels
and CUDA graphs: it stands among the runs as `warming` and counts for nothing. Results are written after each step, the
ends of the logs beside them. With a --deadline a step begins where 60 % of the time that it should take is left (and
what its sessions last), and is cut off at the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
from avatar_variants import make_variants
from live_servers import (
    ROOT,
    STOPPING_S,
    NotRun,
    Place,
    RunningServer,
    Server,
    adopt_orphans,
    kill_below,
    tail,
    topology,
)
from machine import facts, visible_gpus

from being.avatar.folder import read_manifest
from being.commands.session_workers import gpus_here

VARIANTS = 16
AROUND_S = 6.0  # what a load takes beside its sessions
ENDING_S = 5.0  # before the deadline: what runs is cut off, and the server stopped
WORTH = 0.6  # of the time that a step should take: with less left it is not begun
STARTING_S = 300.0
JUDGING_S = 240.0  # after the sessions, where nothing says how long it may take
DESCRIPTORS = 65_536


@dataclass(frozen=True)
class Load:
    """Sessions of a server; avatars: "demo", "variants" (sixteen of it) or "refined"."""

    name: str
    sessions: int
    seconds: float
    size: str = "512x512"
    avatars: str = "demo"
    refine: float | None = None
    processes: int = 12
    p95: float = 100.0
    arrival_s: float = 0.05

    @property
    def kind(self) -> tuple[object, ...]:
        """What one load makes ready for another."""
        return self.avatars, self.size, bool(self.refine)


def on_gpus(count: int, sessions: int, seconds: float) -> tuple[Server, Load]:
    """A renderer on each, sixteen processors for each."""
    server = Server(gpus=count, renderers=count, processors=16 * count, ready_s=65.0)
    return server, Load(f"{sessions} sessions, {count} GPUs", sessions, seconds, processes=24, arrival_s=0.03)


def full_hd(sessions: int) -> tuple[Server, Load]:
    return ONE, Load(f"{sessions} of 1080x1080", sessions, 20, "1080x1080", p95=120.0)


def by_mps(sessions: int, seconds: float) -> tuple[Server, Load]:
    server = Server(renderers=2, mps=True, workers=14)
    return server, Load(f"{sessions} sessions, two renderers with MPS, 14 workers", sessions, seconds)


def refined(sessions: int, share: float, renderers: int = 1) -> tuple[Server, Load]:
    server = Server(refiner="native", refined=True, renderers=renderers, mps=renderers > 1)
    return server, Load(f"{sessions} sessions, refined by {share:g}", sessions, 20, avatars="refined", refine=share)


def diffused(sessions: int) -> tuple[Server, Load]:
    server = Server(refiner="diffusion", ready_s=90.0)
    return server, Load(f"{sessions} sessions, diffusion", sessions, 15, refine=1.0)


ONE = Server()
SCENARIOS: dict[str, list[tuple[Server, Load]]] = {
    "one-64": [(ONE, Load("64 sessions", 64, 60))],
    "one-64-variants": [(ONE, Load(f"64 sessions of {VARIANTS} avatars", 64, 60, avatars="variants"))],
    "one-72": [(ONE, Load("72 sessions", 72, 15))],
    "one-80": [(ONE, Load("80 sessions", 80, 15))],
    "full-hd": [full_hd(1), full_hd(8), full_hd(16)],
    "two-renderers": [
        (Server(renderers=2), Load("64 sessions, two renderers", 64, 15)),
        (Server(renderers=2, mps=True), Load("64 sessions, two renderers with MPS", 64, 15)),
    ],
    "mps": [by_mps(64, 60), by_mps(80, 20), by_mps(88, 18), by_mps(96, 18)],
    "refine-native": [refined(count, share) for count in (32, 64) for share in (0.0, 1.0)],
    "refine-native-64": [refined(64, 1.0)],
    "refine-native-mps": [refined(count, 1.0, renderers=2) for count in (48, 64)],
    "refine-diffusion": [diffused(8), diffused(10), diffused(12)],
    "two": [on_gpus(2, 128, 25), on_gpus(2, 144, 20)],
    "two-128": [on_gpus(2, 128, 25)],
    "four": [on_gpus(4, 64, 20), on_gpus(4, 208, 27), on_gpus(4, 240, 28)],
    "four-64": [on_gpus(4, 64, 20)],
    "four-160": [on_gpus(4, 160, 25)],
    "four-208": [on_gpus(4, 208, 27)],
    "four-240": [on_gpus(4, 240, 28)],
}


def miniature(server: Server, load: Load) -> tuple[Server, Load]:
    """The same on a small machine, a GPU or none: whether it runs, not what it delivers."""
    gpus = min(server.gpus or 0, gpus_here()) or None
    small = replace(server, gpus=gpus, workers=2, renderers=min(2, server.renderers))
    name = f"{load.name}: 2 of 128x128"
    return small, replace(load, name=name, sessions=2, seconds=10.0, size="128x128", processes=2, arrival_s=0.3)


class Measurements:
    """The scenarios one after another, and their results."""

    def __init__(self, place: Place, avatars: dict[str, list[str]], json_path: Path, ends_at: float | None) -> None:
        self.place = place
        self.avatars = avatars
        self.json_path = json_path
        self.log_path = json_path.with_suffix(".log")
        self.ends_at = ends_at
        self.running: RunningServer | None = None
        self.warm: set[tuple[object, ...]] = set()
        self.ready_s = 0.0  # of the last server
        self.report: dict[str, Any] = {
            "command": shlex.join(["python", "benchmarks/live_scenarios.py", *sys.argv[1:]]),
            "date": time.strftime("%Y-%m-%d %H:%M:%S"),
            "machine": facts() | topology(place),
            "admission": False,
            "servers": [],
            "runs": [],
            "not_run": [],
        }
        self.log_path.write_text("")

    # Time.

    @property
    def left_s(self) -> float:
        return float("inf") if self.ends_at is None else self.ends_at - time.monotonic()

    def check_time(self, needed_s: float, load: Load) -> None:
        """NotRun where too little is left of what is estimated, or not even what the sessions certainly take."""
        if self.left_s < max(WORTH * needed_s, load.seconds + ENDING_S):
            raise NotRun(f"{self.left_s:.0f} s are left, about {needed_s:.0f} are needed")

    # What is written.

    def write(self) -> None:
        draft = self.json_path.with_suffix(".part")
        draft.write_text(json.dumps(self.report, indent=1) + "\n")
        draft.replace(self.json_path)

    def log(self, title: str, text: str) -> None:
        with self.log_path.open("a") as file:
            file.write(f"\n===== {title}\n{text}\n")

    # What is run.

    def scenario(self, name: str, steps: list[tuple[Server, Load]]) -> None:
        for server, load in steps:
            why = None
            try:
                if load.avatars not in self.avatars:
                    raise NotRun("--refined names no avatar")
                self.serve(server, load)
                if load.kind not in self.warm:
                    alike = [other.sessions for its, other in steps if its == server and other.kind == load.kind]
                    self.measure(name, warming(load, max(alike)), server, warming=True)
                    self.warm.add(load.kind)
                self.measure(name, load, server)
            except NotRun as reason:
                why = str(reason)
            except Exception as error:
                why = f"{type(error).__name__}: {error}"
                if self.running is not None:
                    click.echo(tail(self.running.log, 15))
                self.stop()
            if why is not None:
                click.echo(f"{name}: {load.name}: not run: {why}")
                self.report["not_run"].append({"scenario": name, "load": load.name, "why": why})
            self.write()

    def serve(self, server: Server, load: Load) -> None:
        """Have the server that a load wants; the one that runs, if it is the same."""
        if self.running is not None and self.running.server == server and self.running.alive:
            return
        self.stop()
        self.check_time(max(self.ready_s, server.ready_s) + load.seconds + AROUND_S, load)
        self.running, self.warm = RunningServer(server, self.place), set()
        entry = self.running.entry
        self.report["servers"].append(entry)
        given = {name: entry[name] for name in ("gpus", "processors", "workers", "renderers", "refiner", "mps")}
        click.echo("a server: " + ", ".join(f"{name} {value}" for name, value in given.items()))
        self.running.start(min(STARTING_S, self.left_s - ENDING_S))
        self.ready_s = entry["ready_s"]
        click.echo(f"ready after {self.ready_s} s")

    def stop(self) -> None:
        if self.running is None:
            return
        self.running.stop(max(2.0, min(STOPPING_S, self.left_s - 2.0)))
        self.log(f"server {len(self.report['servers']) - 1}", tail(self.running.log, 120))
        self.running = None
        self.write()

    def measure(self, scenario: str, load: Load, server: Server, warming: bool = False) -> None:
        """One run of load.py."""
        self.check_time(load.seconds + AROUND_S, load)
        click.echo(f"{scenario}: {load.name}, {load.seconds:g} s{' (warming)' if warming else ''}")
        settle_s = 1.0 if warming else 3.0
        path, log = self.place.work / "load.json", self.place.work / "load.log"
        path.unlink(missing_ok=True)
        command = load_command(load, settle_s, f"ws://127.0.0.1:{self.place.port}", self.avatars[load.avatars])
        failed = None
        with self.asked(load.arrival_s * (load.sessions - 1) + settle_s, load.seconds) as found:
            running = self.place.run(server, [str(ROOT / "benchmarks" / "load.py"), *command, "--json", str(path)], log)
            try:
                if status := running.wait(min(load.seconds + JUDGING_S, self.left_s - ENDING_S)):
                    failed = f"load.py ended with {status}"
            except subprocess.TimeoutExpired:
                failed = "cut off: it took too long"
                os.killpg(running.pid, signal.SIGKILL)  # a group of its own
                running.wait()
        row: dict[str, Any] = {"scenario": scenario, "load": load.name, "server": len(self.report["servers"]) - 1}
        row |= {"warming": warming, "command": shlex.join(["python", "benchmarks/load.py", *command]), **found}
        if path.is_file():
            report = json.loads(path.read_text())
            row |= {"load_before": report["machine"]["load_before"], **report["runs"][-1]}
            if warming:
                del row["sessions"]
            meanwhile = row["meanwhile"]
            click.echo(
                f"    holds: {row['holds']}, admitted {row['admitted']}, {row['together']}, idle "
                f"{meanwhile['idle_percent']} %, GPU {meanwhile.get('gpu_percent')} %"
            )
        if failed is not None:
            row["failed"] = failed
            click.echo(f"    {failed}: {tail(log, 3)}")
        self.report["runs"].append(row)
        self.log(f"load.py, {scenario}, {load.name}", tail(log, 120 if failed else 30))
        self.write()

    @contextlib.contextmanager
    def asked(self, judged_from_s: float, seconds: float) -> Iterator[dict[str, Any]]:
        """What the server says of its renderers and workers once, while a load is judged."""
        found: dict[str, Any] = {}
        ended = threading.Event()

        def ask() -> None:
            if ended.wait(judged_from_s + 0.6 * (seconds - judged_from_s) + 2.0):  # clients take two seconds to start
                return
            with contextlib.suppress(OSError):
                text = self.place.get("/metrics", 5.0)
                found["renderers"] = re.findall(r"^being_renderer_(?:busy|planned){.*$", text, re.MULTILINE)
                held = re.findall(r'^being_sessions{.*state="live".*} (\S+)$', text, re.MULTILINE)
                found["sessions_of_workers"] = sorted(int(float(value)) for value in held)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            ended.set()
            thread.join(6.0)


def warming(load: Load, sessions: int) -> Load:
    """The same kind for some seconds, all sessions within four of them."""
    arrival_s = min(load.arrival_s, 4.0 / sessions)
    return replace(load, sessions=sessions, arrival_s=arrival_s, seconds=round(arrival_s * sessions + 6.0, 1))


def load_command(load: Load, settle_s: float, url: str, avatars: list[str]) -> list[str]:
    """Arguments of load.py."""
    given = {"url": url, "size": load.size, "sessions": load.sessions, "seconds": load.seconds, "p95": load.p95}
    given |= {"processes": load.processes, "arrival-s": load.arrival_s, "settle-s": settle_s}
    given |= {"distinct": 24.8, "repeated": 0.005} | ({"refine": load.refine} if load.refine is not None else {})
    command = [part for name, value in given.items() for part in (f"--{name}", f"{value}")]
    return [*command, *(part for name in avatars for part in ("--avatar", name))]


def listed_scenarios() -> str:
    """Each with its loads, and what differs from the usual server."""
    lines = []
    for name, steps in SCENARIOS.items():
        lines.append(name)
        for server, load in steps:
            differs = [f"{key}={value}" for key, value in asdict(server).items() if value != getattr(ONE, key)]
            lines.append(", ".join([f"    {load.name}", f"{load.seconds:g} s", *differs]))
    return "\n".join([*lines, f"The usual server: {ONE}"])


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(SCENARIOS)))
@click.option("--list", "listing", is_flag=True, help="Say what the scenarios are.")
@click.option("--json", "json_path", default="live_scenarios.json", show_default=True, type=click.Path(path_type=Path))
@click.option("--deadline", type=float, help="Seconds from now until all has ended  [default: none].")
@click.option(
    "--refined", type=click.Path(exists=True, file_okay=False, path_type=Path), help="An avatar with a refiner."
)
@click.option("--refiner", help="JSON of a refiner's settings, in place of each scenario's.")
@click.option("--seconds", type=float, help="Of each load  [default: the scenario's].")
@click.option("--port", default=8000, show_default=True)
@click.option("--mini", is_flag=True, help="Two sessions of 128x128, on one GPU or none: whether a scenario runs.")
def main(
    names: tuple[str, ...],
    listing: bool,
    json_path: Path,
    deadline: float | None,
    refined: Path | None,
    refiner: str | None,
    seconds: float | None,
    port: int,
    mini: bool,
) -> None:
    """Measure scenarios one after another."""
    if listing:
        click.echo(listed_scenarios())
        return
    begun = time.monotonic()
    adopt_orphans()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, DESCRIPTORS) if hard > 0 else DESCRIPTORS, hard))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    scenarios = {name: [miniature(*step) if mini else step for step in SCENARIOS[name]] for name in names}
    if seconds is not None:
        scenarios = {
            name: [(one, replace(load, seconds=seconds)) for one, load in steps] for name, steps in scenarios.items()
        }
    wanted = {load.avatars for steps in scenarios.values() for _, load in steps}
    gpus, work = visible_gpus(), Path(tempfile.mkdtemp(prefix="being-live-"))
    library, avatars = work / "library", {"demo": ["demo"]}
    library.mkdir()
    if "variants" in wanted:
        avatars["variants"] = make_variants(library, VARIANTS)
    if refined is not None:
        avatars["refined"] = [read_manifest(refined).id]
        shutil.copytree(refined, library / avatars["refined"][0])  # a library's folders are called like their avatars
    place = Place(
        gpus if gpus is not None else [str(number) for number in range(gpus_here())],
        sorted(os.sched_getaffinity(0)),
        port,
        work,
        [library],
        json.loads(refiner) if refiner is not None else None,
    )
    measurements = Measurements(place, avatars, json_path, begun + deadline if deadline is not None else None)
    try:
        for name, steps in scenarios.items():
            measurements.scenario(name, steps)
    finally:
        measurements.stop()
        kill_below()
        measurements.report["took_s"] = round(time.monotonic() - begun, 1)
        measurements.write()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
