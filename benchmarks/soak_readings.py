"""What a server's processes on this machine hold over time: memory, threads, descriptors, shared frames, sessions."""

from __future__ import annotations

import json
import os
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DEPLOYMENTS = ("Ingress", "Sessions", "AudioEncoder", "Renderer")
FRAMES = "being-frames"  # the name of shared memory in a process's map
MIB = 1 << 20
HELD = ("rss_mib", "threads", "descriptors", "shared_mib")


@dataclass(frozen=True)
class Held:
    """Of one process. `shared_mib`: frames in shared memory, mapped here."""

    deployment: str
    pid: int
    rss_mib: float
    threads: int
    descriptors: int
    shared_mib: float


@dataclass(frozen=True)
class Reading:
    """`quiet`: all visitors had left. `sessions`: None where the server did not answer."""

    at_s: float
    quiet: bool
    sessions: int | None
    processes: tuple[Held, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def replicas(name: str, server: int | None = None) -> list[int]:
    """Process ids of a deployment's replicas on this machine; `server`: only what that process has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        pid = int(folder.name)
        if re.match(rf"ray::\S*\b{name}\b", title) and (server is None or server in _ancestors(pid)):
            found.append(pid)
    return sorted(found)


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return
        pid = int(status[status.rindex(")") + 2 :].split()[1])
        yield pid


def read(http: str, server: int | None, begun: float, *, quiet: bool) -> Reading:
    held = [one for name in DEPLOYMENTS for pid in replicas(name, server) if (one := _held(name, pid)) is not None]
    return Reading(round(time.monotonic() - begun, 1), quiet, _sessions(http), tuple(held))


def _held(name: str, pid: int) -> Held | None:
    folder = Path(f"/proc/{pid}")
    try:
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
        descriptors = len(os.listdir(folder / "fd"))
        maps = (folder / "maps").read_text().splitlines()
    except OSError:
        return None  # it has just ended
    shared = 0
    for line in maps:
        if FRAMES in line:
            first, last = line.split(" ", 1)[0].split("-")
            shared += int(last, 16) - int(first, 16)
    rss = int(status["VmRSS"].split()[0]) / 1024
    return Held(name, pid, round(rss, 1), int(status["Threads"]), descriptors, round(shared / MIB, 1))


def _sessions(http: str) -> int | None:
    try:
        with urllib.request.urlopen(f"{http}/v1/sessions", timeout=10) as answer:
            return len(json.load(answer)["sessions"])
    except (OSError, ValueError, KeyError):
        return None


@dataclass(frozen=True)
class Allowed:
    """What a process may hold more at its last quiet reading than at its first ones."""

    rss_mib: float = 48.0
    rss_share: float = 0.1
    threads: int = 4
    descriptors: int = 8
    shared_mib: float = 16.0


def growth(readings: Sequence[Reading], allowed: Allowed, warm_up: int) -> list[str]:
    """What grew, in words; empty where nothing did.

    Compared are quiet readings of the same process: the first after it has seen `warm_up` rounds of visitors (what it
    loads and caches is there by then) against its last. Sessions must be none at every quiet reading.
    """
    found = []
    quiet = [one for one in readings if one.quiet]
    for one in quiet:
        if one.sessions:
            found.append(f"{one.sessions} sessions are left at {one.at_s:.0f} s, when everybody had gone")
    by_process: dict[tuple[str, int], list[Held]] = {}
    for one in quiet:
        for held in one.processes:
            by_process.setdefault((held.deployment, held.pid), []).append(held)
    for (name, pid), seen in by_process.items():
        if len(seen) < warm_up + 2:
            continue  # killed too soon to say
        first, last = seen[warm_up], seen[-1]
        bounds = {
            "rss_mib": max(allowed.rss_mib, allowed.rss_share * first.rss_mib),
            "threads": allowed.threads,
            "descriptors": allowed.descriptors,
            "shared_mib": allowed.shared_mib,
        }
        for what, bound in bounds.items():
            before, after = getattr(first, what), getattr(last, what)
            if after - before > bound:
                found.append(f"{name} ({pid}): {what} went from {before} to {after} over {len(seen)} rounds")
    return found


def plot(readings: Sequence[Reading], faults: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Over time, one line a process; faults as dotted lines, quiet readings as dots."""
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    figure, panels = pyplot.subplots(5, 1, figsize=(11, 13), sharex=True)
    colours = dict(zip(DEPLOYMENTS, ("tab:blue", "tab:pink", "tab:green", "tab:orange"), strict=True))
    lines: dict[tuple[str, int], list[tuple[float, bool, Held]]] = {}
    for reading in readings:
        for held in reading.processes:
            lines.setdefault((held.deployment, held.pid), []).append((reading.at_s / 60, reading.quiet, held))
    titles = ("memory, MiB", "threads", "descriptors", "shared frames, MiB")
    for panel, title, what in zip(panels, titles, HELD, strict=False):
        named = set()
        for (name, _), seen in lines.items():
            label = None if name in named else name
            named.add(name)
            values = [getattr(held, what) for _, _, held in seen]
            panel.plot([at for at, _, _ in seen], values, color=colours[name], label=label)
            calm = [(at, value) for (at, quiet, _), value in zip(seen, values, strict=True) if quiet]
            panel.plot([at for at, _ in calm], [value for _, value in calm], "o", color=colours[name], markersize=4)
        panel.set(ylabel=title, ylim=(0, None))
    panels[0].legend(loc="upper left", fontsize="small")
    known = [(one.at_s / 60, one.sessions) for one in readings if one.sessions is not None]
    panels[-1].step([at for at, _ in known], [count for _, count in known], where="post", color="black")
    panels[-1].set(ylabel="sessions", xlabel="minutes", ylim=(0, None))
    for fault in faults:
        for panel in panels:
            panel.axvline(fault["at_s"] / 60, color=colours.get(fault["killed"], "red"), linestyle=":", linewidth=1)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
