"""A Ray head of its own on this machine, and jobs submitted to it as `ray job submit` does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from being.ray_local import free_ports

REPOSITORY = Path(__file__).resolve().parents[1]
PATIENCE_S = 900.0
HELPER_FLAGS = (
    "dashboard-agent-grpc-port",
    "metrics-export-port",
    "dashboard-agent-listen-port",
    "runtime-env-agent-port",
)
# A busy machine starts Ray slowly; Ray itself would give up after 15 to 60 s.
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "600",
    "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": "600",
    "RAY_raylet_start_wait_time_s": "600",
    "RAY_agent_register_timeout_ms": "600000",
    "RAY_worker_register_timeout_seconds": "600",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process more, for nodes that a cloud takes back
    "RAY_USAGE_STATS_ENABLED": "0",
    "OMP_NUM_THREADS": "1",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}
# `ray start` with its flags, ended where this process closes the pipe or dies.
HEAD = """
import subprocess, sys
head = subprocess.Popen([sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *sys.argv[1:]])
sys.stdin.read()
head.terminate()
head.wait()
"""
STARTED = "Ray runtime started"  # what `ray start` says when it is up


@dataclass(frozen=True)
class Head:
    """A running cluster: where `ray job submit` reaches it, and where drivers do."""

    dashboard: str
    address: str


@contextmanager
def cluster(cpus: int) -> Iterator[Head]:
    """A Ray head with a dashboard, of its own and gone afterwards, whatever other Ray runs on the machine."""
    gcs, dashboard, client, *helpers = free_ports(7)
    folder = tempfile.mkdtemp(prefix="being-ray-")
    flags = {
        "num-cpus": cpus,
        "object-store-memory": 200 << 20,
        "temp-dir": folder,  # its address lies there, too: no other Ray's drivers find this one
        "port": gcs,
        "ray-client-server-port": client,
        "dashboard-port": dashboard,
        # Told its helpers' ports, Ray does not give up on helpers that start slowly (being.ray_compat.helper_ports).
        **dict(zip(HELPER_FLAGS, helpers, strict=True)),
    }
    head = subprocess.Popen(
        [sys.executable, "-c", HEAD, *(f"--{name}={value}" for name, value in flags.items())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **ENVIRONMENT},
        cwd=REPOSITORY,
        text=True,
    )
    assert head.stdin is not None and head.stdout is not None
    try:
        said: list[str] = []
        while not (said and STARTED in said[-1]):
            said.append(head.stdout.readline())
            if not said[-1]:
                raise RuntimeError("Ray did not start:\n" + "".join(said))
        yield Head(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{gcs}")
    finally:
        head.stdin.close()  # the head ends by itself, and Ray with it
        head.wait(PATIENCE_S)
        shutil.rmtree(folder, ignore_errors=True)


def objects_in(line: str) -> list[dict[str, Any]]:
    """JSON objects at the start of a line of a job's log: two that came at once may share it, and one may be cut."""
    decoder, found = json.JSONDecoder(), []
    while line.startswith("{"):
        try:
            one, end = decoder.raw_decode(line)
        except json.JSONDecodeError:
            break
        found.append(one)
        line = line[end:].lstrip()
    return found


@dataclass
class Job:
    """A submitted job: what it has printed so far."""

    process: subprocess.Popen[str]
    id: str
    head: Head
    text: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)

    def read(self) -> None:
        """Until the job ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.text.append(line)
            self.events += objects_in(line)

    def until(self, seen: Callable[[], Any], what: str) -> Any:
        """Wait for something; raises when the job ends before it or patience does."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := seen()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the job ended before {what}:\n{''.join(self.text)[-3000:]}")
            time.sleep(0.02)
        return found

    def end(self) -> int:
        """Wait for the end; the exit status of `ray job submit`."""
        status = self.process.wait(PATIENCE_S)
        self.reader.join(PATIENCE_S)
        return status

    def kill(self) -> None:
        """`ray job stop`: the driver is killed, and Ray ends its workers."""
        ray_job("stop", "--address", self.head.dashboard, self.id)
        self.end()

    def notes(self, text: str) -> list[dict[str, Any]]:
        """Events whose note holds a text."""
        return [event for event in list(self.events) if text in event.get("note", "")]

    def last(self) -> dict[str, Any]:
        """The stage and step that was told last."""
        return next(({"part": e["part"], "step": e["step"]} for e in reversed(list(self.events)) if "step" in e), {})

    def reached(self, part: str, step: int) -> bool:
        """Whether the job told of this step, or a later one, of a part."""
        return any(e["part"] == part and e.get("step", 0) >= step for e in list(self.events))

    def start(self) -> Job:
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        return self


def ray_job(command: str, *arguments: str) -> subprocess.Popen[str]:
    """`ray job COMMAND`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", "job", command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **ENVIRONMENT},
        cwd=REPOSITORY,
        text=True,
    )
    if command == "stop":
        process.communicate(timeout=PATIENCE_S)
    return process


def submit(head: Head, data: Sequence[str], out: Path, settings: dict[str, Any], *flags: str) -> Job:
    """`ray job submit --working-dir . -- python train.py ...`."""
    id = f"being-{os.getpid()}-{time.monotonic_ns()}"
    options = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "train.py", "--data", *data, "--out", str(out), *options, *flags]
    process = ray_job(
        "submit", "--address", head.dashboard, "--submission-id", id, "--working-dir", str(REPOSITORY),
        # Helpers of Ray Train look for the cluster again and find all that run on the machine.
        "--runtime-env-json", json.dumps({"env_vars": {"RAY_ADDRESS": head.address}}),
        "--", *command,
    )  # fmt: skip
    return Job(process, id, head).start()
