"""`being serve` for one measurement after another: as a scenario wants it, and ended with all that it started.

Admission is off (`limits.admission`): what is delivered is measured, not what would be let in.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STOPPING_S = 15.0
SETTLED_S = 2.0  # after it is ready, for the channels between workers and renderers
SPREAD_S = 8.0  # with several renderers, for workers to spread over them
GIVEN_UP = "Failed to update the deployments"  # Serve's words
SESSIONS = 64  # of one worker, at most
BECOME_SUBREAPER = 36  # of prctl
REFINERS: dict[str, dict[str, Any]] = {
    "native": {"backend": "native", "strength": 1.0},
    # SD-turbo and TAESD at full size, random numbers: as fast, but blind. A face of the demo at 512x512 takes crops of
    # 256 and 384; graphs of other sizes are not recorded, for each takes seconds.
    "diffusion": {
        "backend": "streamdiffusion",
        "strength": 1.0,
        "options": {"model": "random", "sizes": [256, 384], "batches": [1, 2, 4, 8]},
    },
}


class NotRun(Exception):
    """What the machine or the command line lacks for a scenario."""


@dataclass(frozen=True)
class Server:
    """What a scenario wants.

    gpus : None where there is no GPU. workers : for each GPU; fewer where not each gets a processor beside the
    renderers. processors : at most so many, of the server and of the clients together, so that machines compare; None:
    all. renderers : they share the GPUs evenly. refiner : of REFINERS. refined : with an avatar that has a refiner.
    mps : by NVIDIA's Multi-Process Service. ready_s : about how long it takes to start.
    """

    gpus: int | None = 1
    workers: int = 12
    processors: int | None = 16
    renderers: int = 1
    refiner: str | None = None
    refined: bool = False
    mps: bool = False
    ready_s: float = 24.0


@dataclass(frozen=True)
class Place:
    """What there is to run servers on, and with.

    gpus : as CUDA_VISIBLE_DEVICES names them. work : a folder for what is written meanwhile. refiner : in place of each
    scenario's.
    """

    gpus: Sequence[str]
    processors: Sequence[int]
    port: int
    work: Path
    library: Sequence[Path]
    refiner: Mapping[str, Any] | None = None

    def pinned(self, server: Server) -> Sequence[int]:
        """Processors of the server and of its clients."""
        return self.processors[: server.processors]

    def workers(self, server: Server) -> int:
        if not server.gpus:
            return server.workers
        return max(1, min(server.workers * server.gpus, len(self.pinned(server)) - server.renderers))

    def environment(self, server: Server) -> dict[str, str]:
        """Of the server and of its clients, whose nvidia-smi looks at the same GPUs."""
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        gpus = ",".join(self.gpus[: server.gpus or 0])
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "CUDA_VISIBLE_DEVICES": gpus,
            "PYTHONUNBUFFERED": "1",
        }

    def config(self, server: Server) -> dict[str, Any]:
        """For Ray Serve."""
        args: dict[str, Any] = {
            "library": [str(ROOT / "being" / "avatars"), *map(str, self.library)],
            "device": "cuda" if server.gpus else "cpu",
            "resident": 64,
            "limits": {"sessions": SESSIONS, "admission": False, "serve_unconsented": server.refined},
        }
        if server.refiner is not None:
            args["refiner"] = dict(self.refiner or REFINERS[server.refiner])
        renderer = {
            "name": "Renderer",
            "ray_actor_options": {"num_cpus": 1 if server.gpus else 0.4},
            "max_surge_percent": 0,  # nothing is upgraded: no place is kept for that
        }
        application = {
            "name": "being",
            "route_prefix": "/",
            "import_path": "being.deployments.app:build",
            "args": args,
            "deployments": [{"name": "Ingress", "num_replicas": self.workers(server)}, renderer],
        }
        return {
            "proxy_location": "HeadOnly",
            "http_options": {"host": "127.0.0.1", "port": self.port},
            "logging_config": {"enable_access_log": False},
            "applications": [application],
        }

    def get(self, path: str, timeout_s: float = 10.0) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=timeout_s) as answer:
            text: str = answer.read().decode()
        return text

    def run(self, server: Server, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a program on the server's processors and GPUs, in a session of its own."""
        pinned = set(self.pinned(server))

        def pin() -> None:
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, pinned)

        with log.open("wb") as file:
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=self.work,
                env=self.environment(server),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=pin,
            )


class RunningServer:
    """A server, once `start` has returned; `entry` is what is known of it, for the results."""

    def __init__(self, server: Server, place: Place) -> None:
        if (server.gpus or 0) > len(place.gpus):
            raise NotRun(f"{server.gpus} GPUs are wanted, {len(place.gpus)} are here")
        if server.mps and not place.gpus:
            raise NotRun("MPS wants a GPU")
        self.server = server
        self.log = place.work / "server.log"
        self.entry: dict[str, Any] = {**asdict(server), "workers": place.workers(server)}
        self.entry["processors"] = len(place.pinned(server))
        del self.entry["ready_s"]  # what was expected
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, patience_s: float) -> None:
        """Until all its workers are there.

        Raises
        ------
        RuntimeError
            It ended, or took too long.
        """
        config = self._place.work / "serve_config.json"  # JSON is YAML
        config.write_text(json.dumps(self._place.config(self.server), indent=1))
        drawing = ["--renderers", str(self.server.renderers), "--mps" if self.server.mps else "--no-mps"]
        begun = time.monotonic()
        self._process = self._place.run(self.server, ["-m", "being.cli", "serve", str(config), *drawing], self.log)
        said = "no answer"
        while time.monotonic() - begun < patience_s:
            if not self.alive:
                raise RuntimeError(f"the server ended with {self._process.returncode} while it started")
            if GIVEN_UP in tail(self.log, 40):
                raise RuntimeError("a deployment of the server failed")
            try:
                ready = json.loads(self._place.get("/readyz", 20.0))
            except Exception as error:  # not there yet
                said = f"{type(error).__name__}: {error}"
            else:
                if len(ready["workers"]) >= self.entry["workers"]:
                    self.entry["ready_s"] = round(time.monotonic() - begun, 1)
                    self.entry["room"], self.entry["avatars"] = ready["room"], ready["avatars"]
                    time.sleep(SETTLED_S if self.server.renderers == 1 else SPREAD_S)
                    return
                said = f"{len(ready['workers'])} workers"
            time.sleep(0.5)
        raise RuntimeError(f"the server is not ready after {time.monotonic() - begun:.0f} s ({said})")

    def stop(self, patience_s: float = STOPPING_S) -> None:
        """SIGTERM, and SIGKILL for what it leaves."""
        if self._process is not None:
            begun = time.monotonic()
            if self.alive:
                self._process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(patience_s)
            killed = kill_below()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1.0)
            self.entry |= {"exit": self._process.returncode, "stopped_s": round(time.monotonic() - begun, 1)}
            self.entry["killed"] = killed


def topology(place: Place) -> dict[str, Any]:
    """Which GPUs and processors: cores or threads that share one."""

    def lines(*command: str) -> list[str]:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.splitlines()
        return []

    siblings = set()
    for number in place.processors[: Server().processors]:
        with contextlib.suppress(OSError):
            siblings.add(Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list").read_text().strip())
    listed = r"(Model name|CPU\(s\)|Thread|Core|Socket|NUMA|L3)"
    return {
        "gpus": lines("nvidia-smi", "--query-gpu=index,name,driver_version,compute_mode", "--format=csv,noheader"),
        "visible_gpus": list(place.gpus),
        "lscpu": [line for line in lines("lscpu") if re.match(listed, line)],
        "thread_siblings": sorted(siblings),
    }


# Processes. What loses its parent becomes this process' child, so that nothing that a server started is overlooked.


def adopt_orphans() -> None:
    """Linux alone; elsewhere what a server leaves when it is killed goes on."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(BECOME_SUBREAPER, 1, 0, 0, 0)


def below(root: int) -> set[int]:
    """All processes that a process started, and those that they did."""
    children: dict[int, set[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), set()).add(int(stat.parent.name))
    found: set[int] = set()
    ahead = [root]
    while ahead:
        new = children.get(ahead.pop(), set()) - found
        found |= new
        ahead += new
    return found


def kill_below(patience_s: float = 3.0) -> int:
    """Kill all that this process started; how many there were."""
    killed: set[int] = set()
    until = time.monotonic() + patience_s
    while (left := below(os.getpid())) and time.monotonic() < until:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        killed |= left
        time.sleep(0.1)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    return len(killed)


def tail(path: Path, lines: int) -> str:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(line[:400] for line in text.splitlines()[-lines:])
