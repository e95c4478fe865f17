"""The fitting job under blows, on a Ray cluster of this machine: workers killed, jobs killed, people side by side.

    python benchmarks/train_job.py --json train_job.json

Every row is a job submitted with `ray job submit`; the first is undisturbed and the others are held against it. The
last one writes into the library of a running `being serve`, which is asked for the avatar until it has it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from machine import Meanwhile, facts

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
from being.deployments.cluster import start_ray
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
SMALL: dict[str, Any] = {
    "static-steps": 100,
    "network-steps": 400,
    "batch": 4,
    "frames-at-once": 2,  # one worker adds up what two share: the same sums in the same order
    "initial-gaussians": 300,
    "gaussians": 400,
    "features": "logmel",
    "plane-resolutions": "16,32",
    "inner-block": 0.1,
    "densify-rounds": 2,
    "lr-final": 0.01,
    "corrections-pose": 0,
    "corrections-exposure": 0,
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


def checkpointed(out: Path, run: str) -> Callable[[], bool]:
    """Whether Ray Train has written down a checkpoint of the run."""
    snapshot = out / ".runs" / run / "checkpoint_manager_snapshot.json"

    def seen() -> bool:
        try:
            return bool(json.loads(snapshot.read_text())["checkpoint_results"])
        except (OSError, ValueError, KeyError):
            return False

    return seen


def kill_worker(job: Job, rank: int, workers: int) -> dict[str, Any]:
    """SIGKILL a worker by the process id it told; where the job was by then, as far as it had told."""
    told = job.until(lambda: job.notes(f"worker {rank + 1} of {workers} on"), "its workers began")
    os.kill(told[-1]["pid"], signal.SIGKILL)
    return job.last()


def scores(out: Path, id: str) -> dict[str, float]:
    """Held-out scores of a finished avatar."""
    metrics: dict[str, float] = json.loads((out / id / "avatar.json").read_text())["metrics"]
    return metrics


@contextmanager
def serving(library: Path) -> Iterator[str]:
    """`being serve` over a library, in processes and a Ray of its own; its URL, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "being", "serve", "--port", str(port), "--library", str(library)]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True)
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE_S
        try:
            while listed(url) is None:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("being serve did not start")
                time.sleep(0.2)
            yield url
        finally:
            server.send_signal(signal.SIGINT)
            try:
                server.wait(PATIENCE_S / 6)
            except subprocess.TimeoutExpired:  # a starved machine; what it has shown stands
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()


def listed(url: str) -> set[str] | None:
    """Ids of the avatars that a server has; None while it does not answer."""
    try:
        with urllib.request.urlopen(f"{url}/v1/avatars", timeout=10) as answer:
            return {avatar["id"] for avatar in json.load(answer)["avatars"]}
    except OSError:
        return None


def appearance(url: str, folder: Path, job: Job) -> dict[str, float]:
    """Seconds from the avatar's folder being there to the server listing it, and to the end of its first film."""
    manifest = folder / "avatar.json"
    job.until(manifest.exists, "it wrote the avatar")
    written = time.monotonic()
    job_deadline = written + PATIENCE_S
    while folder.name not in (listed(url) or ()):
        if time.monotonic() > job_deadline:
            raise RuntimeError("the server never listed the avatar")
        time.sleep(0.05)
    seen = time.monotonic() - written
    sound = REPOSITORY / "being" / "samples" / "hello.wav"
    request = urllib.request.Request(
        f"{url}/v1/avatars/{folder.name}/speak", sound.read_bytes(), {"Content-Type": "audio/wav"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        film = answer.read()
    return {"listed_after_s": seen, "spoke_after_s": time.monotonic() - written, "film_bytes": len(film)}


@dataclass
class Bench:
    """Where the cases run, on whom, and what they found."""

    head: Head
    place: Path
    people: list[Path]

    def submit(self, out: Path, *flags: str, people: int = 1) -> Job:
        """A job for the first person, or the first few."""
        return submit(self.head, [str(folder) for folder in self.people[:people]], out, SMALL, "--cpus", "1", *flags)

    def compile(self) -> None:
        """A job of a few steps, not counted: a process that compiles the kernels rounds unlike those that load them."""
        steps = SMALL | {"static-steps": 2, "network-steps": 2}
        ended(submit(self.head, [str(self.people[0])], self.place / "compiled", steps, "--cpus", "1"))

    def alone(self, out: Path) -> dict[str, Any]:
        ended(self.submit(out))
        return {}

    def pair(self, out: Path) -> dict[str, Any]:
        ended(self.submit(out, "--workers", "2"))
        return {}

    def worker_killed(self, out: Path, rank: int) -> dict[str, Any]:
        job = self.submit(out, "--workers", "2")
        halfway(job)
        at = kill_worker(job, rank, 2)
        ended(job)
        return {"killed_at": at, "went_on": [event["note"] for event in job.notes("going on from step")]}

    def job_killed(self, out: Path) -> dict[str, Any]:
        job = self.submit(out)
        halfway(job)
        at = job.last()
        job.kill()
        if (out / "ada").exists():
            raise RuntimeError("the job was killed too late")
        job = self.submit(out)
        ended(job)
        return {"killed_at": at, "went_on": [event["note"] for event in job.notes("going on from step")]}

    def three(self, out: Path) -> dict[str, Any]:
        ended(self.submit(out, people=3))
        return {"each": {folder.name: scores(out, folder.name)["held_out_psnr"] for folder in self.people}}

    def served(self, out: Path) -> dict[str, Any]:
        out.mkdir()
        with serving(out) as url:
            job = self.submit(out, "--consent", "synthetic")
            seen = appearance(url, out / "ada", job)
            ended(job)
        return seen


CASES: dict[str, Callable[[Bench, Path], dict[str, Any]]] = {
    "1 worker": Bench.alone,
    "1 worker, once more": Bench.alone,
    "2 workers": Bench.pair,
    "2 workers, worker 0 killed": lambda bench, out: bench.worker_killed(out, 0),
    "2 workers, worker 1 killed": lambda bench, out: bench.worker_killed(out, 1),
    "job killed, submitted again": Bench.job_killed,
    "three people at once": Bench.three,
    "into a running server": Bench.served,
}


def main() -> None:
    """Run the cases, print one table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=4.0, help="of footage")
    parser.add_argument("--cases", type=int, nargs="*", default=range(len(CASES)), help="by number; others stay")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    from being.synthetic import generate

    rows: dict[str, Any] = {}
    if options.json and options.json.exists() and len(options.cases) < len(CASES):
        rows = json.loads(options.json.read_text())["rows"]
    document = {
        "what": "one person's fitting job undisturbed and under blows; PSNR over the person on held-out frames",
        "command": "python benchmarks/train_job.py --json benchmarks/results/train_job.json",
        "machine": facts(),
        "footage": f"{options.seconds:g} s of {options.size}x{options.size}, synthetic",
        "settings": SMALL,
        "rows": rows,
    }
    with tempfile.TemporaryDirectory(prefix="being-job-") as root, cluster(cpus=4) as head:
        place = Path(root)
        people = [
            generate(place / name, seconds=options.seconds, seed=seed, size=(options.size,) * 2, workers=1)
            for seed, name in enumerate(("ada", "bob", "cy"), start=3)
        ]
        bench = Bench(head, place, people)
        bench.compile()
        for name in [list(CASES)[number] for number in options.cases]:
            out = place / re.sub(r"\W+", "-", name)
            machine, begun = Meanwhile(), time.monotonic()
            more = CASES[name](bench, out)
            seconds, found = time.monotonic() - begun, scores(out, "ada")["held_out_psnr"]
            first = rows.get("1 worker", {"psnr": found})["psnr"]
            rows[name] = {"psnr": found, "off": round(found - first, 4), "seconds": round(seconds, 1)}
            rows[name] |= {"stolen_percent": machine.report(seconds)["stolen_percent"], **more}
            print(f"{name:<32} {found:7.3f} dB {found - first:+7.3f} dB {seconds:7.1f} s {more or ''}", flush=True)
            if options.json:
                options.json.write_text(json.dumps(document, indent=1))


def halfway(job: Job) -> None:
    """Wait for the middle of the second stage."""
    job.until(lambda: job.reached("network", SMALL["network-steps"] // 2), "half of its steps were done")


def ended(job: Job) -> None:
    """Wait for a job that must succeed."""
    if job.end() != 0:
        raise RuntimeError("".join(job.text)[-5000:])


if __name__ == "__main__":
    main()
