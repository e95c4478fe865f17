"""The fitting job under blows, on a Ray cluster of this machine: workers killed, jobs killed, people side by side.

    python benchmarks/train_job.py --json train_job.json

Every row is a job submitted with `ray job submit`; the first is undisturbed and the others are held against it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
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

REPOSITORY = Path(__file__).resolve().parents[1]
PATIENCE_S = 900.0
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
HEAD = """
import sys
from deployments.cluster import start_ray
start_ray(num_cpus=int(sys.argv[1]), include_dashboard=True, dashboard_port=int(sys.argv[2]), _temp_dir=sys.argv[3],
          object_store_memory=200 << 20, log_to_driver=False)
import ray
from ray._private.utils import write_ray_address
address = ray.get_runtime_context().gcs_address
write_ray_address(address, sys.argv[3])  # as `ray start` does: jobs find this cluster, whatever else runs here
print(address, flush=True)
sys.stdin.read()
"""
# A case small enough for two cores and long enough to be disturbed.
SMALL = {
    "static-steps": 60,
    "network-steps": 150,
    "batch": 2,
    "initial-gaussians": 300,
    "gaussians": 400,
    "features": "logmel",
    "plane-resolutions": "16,32",
    "inner-block": 0.1,
    "densify-rounds": 4,
    "lr-final": 0.05,
    "checkpoint-every-s": 1,
    "device": "cpu",
}


@dataclass(frozen=True)
class Head:
    """A running cluster: where `ray job submit` reaches it, and where drivers do."""

    dashboard: str
    address: str


@contextmanager
def cluster(cpus: int) -> Iterator[Head]:
    """A Ray head with a dashboard, of its own and gone afterwards, whatever other Ray runs on the machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="being-ray-")
    head = subprocess.Popen(
        [sys.executable, "-c", HEAD, str(cpus), str(port), folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **ENVIRONMENT},
        cwd=REPOSITORY,
        text=True,
    )
    assert head.stdin is not None and head.stdout is not None
    try:
        address = head.stdout.readline().strip()
        if not address:
            raise RuntimeError("Ray did not start")
        yield Head(f"http://127.0.0.1:{port}", address)
    finally:
        head.stdin.close()  # the head ends by itself, and Ray with it
        head.wait(PATIENCE_S)
        shutil.rmtree(folder, ignore_errors=True)


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
            if line.startswith("{"):
                self.events.append(json.loads(line))

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


def checkpointed(out: Path, run: str) -> Callable[[], bool]:
    """Whether Ray Train has written down a checkpoint of the run."""
    snapshot = out / ".runs" / run / "checkpoint_manager_snapshot.json"

    def seen() -> bool:
        try:
            return bool(json.loads(snapshot.read_text())["checkpoint_results"])
        except (OSError, ValueError, KeyError):
            return False

    return seen


def kill_worker(job: Job, rank: int, workers: int) -> int:
    """SIGKILL a worker by the process id it told; the last step that was told before."""
    told = job.until(lambda: job.notes(f"worker {rank + 1} of {workers} on"), "its workers began")
    os.kill(told[-1]["pid"], signal.SIGKILL)
    return max((event.get("step", 0) for event in list(job.events)), default=0)


def scores(out: Path, id: str) -> dict[str, float]:
    """Held-out scores of a finished avatar."""
    metrics: dict[str, float] = json.loads((out / id / "avatar.json").read_text())["metrics"]
    return metrics


def main() -> None:
    """Run all cases, print one table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    from being.dataset.synthetic import generate

    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="being-job-") as root, cluster(cpus=4) as head:
        place = Path(root)
        people = [
            generate(place / name, seconds=options.seconds, seed=seed, size=(options.size,) * 2, workers=1)
            for seed, name in enumerate(("ada", "bob", "cy"), start=3)
        ]
        ada = [str(people[0])]

        def row(name: str, out: Path, begun: float, **more: Any) -> None:
            found = scores(out, "ada")["held_out_psnr"]
            first = rows["1 worker"]["psnr"] if rows else found
            rows[name] = {"psnr": found, "off": found - first, "seconds": time.monotonic() - begun, **more}
            print(f"{name:<44} {found:7.3f} dB {found - first:+7.3f} dB {rows[name]['seconds']:7.1f} s {more or ''}")

        for workers in (1, 2):
            out, begun = place / f"undisturbed{workers}", time.monotonic()
            assert submit(head, ada, out, SMALL, "--workers", str(workers), "--cpus", "1").end() == 0
            row(f"{workers} worker" + "s" * (workers > 1), out, begun)

        for rank in (0, 1):
            out, begun = place / f"fallen{rank}", time.monotonic()
            job = submit(head, ada, out, SMALL, "--workers", "2", "--cpus", "1")
            job.until(checkpointed(out, "ada"), "a checkpoint")
            step = kill_worker(job, rank, 2)
            assert job.end() == 0, "".join(job.text)
            again = job.notes("going on from step")
            row(f"2 workers, worker {rank} killed", out, begun, told_step=step, went_on=[n["note"] for n in again])

        out, begun = place / "resubmitted", time.monotonic()
        job = submit(head, ada, out, SMALL, "--cpus", "1")
        job.until(checkpointed(out, "ada"), "a checkpoint")
        step = max((event.get("step", 0) for event in list(job.events)), default=0)
        job.kill()
        assert not (out / "ada").exists()
        job = submit(head, ada, out, SMALL, "--cpus", "1")
        assert job.end() == 0, "".join(job.text)
        again = job.notes("going on from step")
        row("job killed, submitted again", out, begun, told_step=step, went_on=[n["note"] for n in again])

        out, begun = place / "three", time.monotonic()
        job = submit(head, [str(person) for person in people], out, SMALL, "--cpus", "1")
        assert job.end() == 0, "".join(job.text)
        row(
            "three people at once",
            out,
            begun,
            all={id: scores(out, id)["held_out_psnr"] for id in ("ada", "bob", "cy")},
        )
    if options.json:
        options.json.write_text(json.dumps({"settings": SMALL, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
