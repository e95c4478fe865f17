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
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import Meanwhile, facts
from ray_jobs import PATIENCE_S, REPOSITORY, Head, Job, cluster, submit

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
    """Seconds from the avatar's folder being there to the server listing it, and to the end of its first video."""
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
        video = answer.read()
    return {"listed_after_s": seen, "spoke_after_s": time.monotonic() - written, "video_bytes": len(video)}


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
