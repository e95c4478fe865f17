"""CPU time of the session worker for each live session, socket to socket, without Serve and without drawing.

    python benchmarks/ingress_cpu.py --sessions 1 --sessions 5 --seconds 10
    python benchmarks/ingress_cpu.py --sessions 5 --tree OLD --tree NEW --rounds 5 --pictures planes.npy --json out.json

A server in this process: frame loop, client sessions, resampling, encoders, WebSockets, as `being serve` has them, and
sound encoded here. The renderer is another process that answers with planes drawn before the measurement, through
shared memory (recorded_renderer.py); with `--graph inside` there is none, and ticks are answered at once. The clients
are another process: they speak in real time in pieces of 20 ms and acknowledge what arrives four times a second. What
is measured is the processor time of this process, all threads. Checkouts are compared in turn: `--tree` each.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as Ray gives a worker

import click
import machine
import numpy as np
import numpy.typing as npt
import uvicorn
import websockets

from being.api.server import create_app
from being.audio.resample import resample
from being.avatar.library import Library
from being.graph.local import InProcessGraph
from being.graph.offline import frames_covering, perform, whole
from being.inference.engine import Engine
from being.inference.frames import FrameRecord, PixelFormat
from being.live.requests import AvatarFacts, FrameRequest, OutputFormat
from being.media.media_sink import Frame
from being.media.reading.sound_reader import read_sound
from being.server.service import Service

SAMPLE = Path(__file__).parent.parent / "being" / "samples" / "hello.wav"
CHUNK_S = 0.02
SETTLING_S = 2.0  # before the measurement: encoders open, the first frames are key frames
NUMBERS = ("cpu_ms_a_frame", "frames_per_s_of_session", "waits_a_frame", "kbit_s", "p50_ms", "p95_ms")


class DrawnBefore:
    """A graph that shows planes drawn in advance, over and over."""

    def __init__(self, facts: AvatarFacts, planes: npt.NDArray[np.uint8]) -> None:
        self._facts, self._planes = facts, planes

    async def prepare(self, avatar: str) -> AvatarFacts:
        return self._facts

    async def submit(self, tick: Sequence[FrameRequest]) -> list[FrameRecord]:
        return [
            FrameRecord(
                index=index,
                generation=request.generation,
                image=self._planes[index % len(self._planes)],
                alpha=None,
                depth=None,
                face_box=None,
                head_pose=request.head_poses[index - request.first],
                pixel_format=PixelFormat.YUV420,
            )
            for request in tick
            for index in range(request.first, request.first + request.count)
        ]


class Gathered:
    """A sink that keeps what was drawn."""

    def __init__(self) -> None:
        self.records: list[FrameRecord] = []

    def picture(self, index: int, frame: Frame) -> None:
        assert isinstance(frame, FrameRecord)
        self.records.append(frame)

    def repeat(self, index: int) -> None: ...

    def sound(self, pcm: np.ndarray) -> None: ...

    def close(self) -> None: ...


@click.command()
@click.option("--avatar", default="demo", show_default=True)
@click.option("--sessions", default=(1, 2), multiple=True, show_default=True)
@click.option("--seconds", default=10.0, show_default=True)
@click.option("--size", default=512, show_default=True, help="Side of the picture.")
@click.option("--rate", default=16_000, show_default=True, help="Hz of the sound sent.")
@click.option("--graph", type=click.Choice(["channel", "inside"]), default="channel", show_default=True)
@click.option("--pictures", type=click.Path(path_type=Path), help="Draw into this file, unless it is there already.")
@click.option(
    "--tree", "trees", multiple=True, type=click.Path(path_type=Path), help="Measure these checkouts in turn."
)
@click.option("--rounds", default=1, show_default=True, help="The medians count.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here.")
@click.option("--clients", hidden=True, help="URL: be the clients.")
@click.option("--once", hidden=True, is_flag=True, help="Be the worker.")
def main(
    avatar: str,
    sessions: tuple[int, ...],
    seconds: float,
    size: int,
    rate: int,
    graph: str,
    pictures: Path | None,
    trees: tuple[Path, ...],
    rounds: int,
    json_path: Path | None,
    clients: str | None,
    once: bool,
) -> None:
    """Measure the session worker's processor time."""
    if clients is not None:
        asyncio.run(_talk(clients, sessions[0], seconds, rate))
        return
    if once:
        assert pictures is not None
        _measure(avatar, seconds, size, rate, graph, pictures)
        return
    report: dict[str, Any] = {"command": " ".join(["python", *sys.argv]), "machine": machine.facts(), "runs": []}
    with tempfile.TemporaryDirectory() as folder:
        pictures = (pictures or Path(folder) / "planes.npy").resolve()
        if not pictures.exists():
            np.save(pictures, np.stack([record.image for record in drawn(avatar, size)[1]]))
        command = [sys.executable, __file__, "--once", "--pictures", str(pictures), "--avatar", avatar]
        command += ["--seconds", str(seconds), "--size", str(size), "--rate", str(rate), "--graph", graph]
        found: dict[tuple[str, int], list[dict[str, Any]]] = {}
        with contextlib.ExitStack() as running:
            workers = {tree: running.enter_context(_worker(command, tree)) for tree in trees or (None,)}
            for number in range(rounds):
                for tree, worker in [*workers.items()][:: -1 if number % 2 else 1]:
                    for count in sessions:
                        row = worker(count)
                        click.echo(f"{tree or ''} {json.dumps(row)}")
                        found.setdefault((tree.name if tree else "", count), []).append(row)
    for (name, count), rows in found.items():
        medians = {key: round(float(np.median([row[key] for row in rows])), 2) for key in NUMBERS}
        threads = {
            thread: round(float(np.median([row["threads_ms_a_frame"].get(thread, 0.0) for row in rows])), 2)
            for thread in rows[0]["threads_ms_a_frame"]
        }
        runs = [row["cpu_ms_a_frame"] for row in rows]
        report["runs"].append({"tree": name, "sessions": count, **medians, "threads_ms_a_frame": threads, "each": runs})
        click.echo(json.dumps(report["runs"][-1]))
    if json_path is not None:
        json_path.write_text(json.dumps(report, indent=1) + "\n")


@contextlib.contextmanager
def _worker(command: Sequence[str], tree: Path | None) -> Iterator[Callable[[int], dict[str, Any]]]:
    """A session worker of a checkout, which measures so many sessions when it is called and is idle meanwhile."""
    environment = os.environ | ({"PYTHONPATH": str(tree.resolve())} if tree else {})
    worker = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    asked, told = worker.stdin, worker.stdout
    assert asked is not None and told is not None

    def measured(count: int) -> dict[str, Any]:
        print(count, file=asked, flush=True)
        row: dict[str, Any] = json.loads(told.readline())
        return row

    try:
        yield measured
        asked.close()
    finally:
        worker.wait()


def _measure(avatar: str, seconds: float, size: int, rate: int, graph: str, pictures: Path) -> None:
    """One run for each number of sessions that is asked for, in this process."""
    from recorded_renderer import ChannelGraph, RecordedRenderer

    library = Library(None, serving_policy=True)
    live = InProcessGraph(Engine(library, "cpu"))
    facts = asyncio.run(live.prepare(avatar))
    live.close()
    renderer = RecordedRenderer(pictures) if graph == "channel" else None
    if renderer is not None:
        service = Service(library, ChannelGraph(facts, renderer.path, library))
    else:
        service = Service(library, DrawnBefore(facts, np.load(pictures)))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = uvicorn.Config(
        create_app(service), port=port, log_level="warning", ws_ping_interval=None, ws_per_message_deflate=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="being-server", daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    for count in map(int, sys.stdin):
        url = f"ws://127.0.0.1:{port}/v1/avatars/{avatar}/live?width={size}&height={size}&sample_rate={rate}"
        command = [sys.executable, __file__, "--clients", url, "--sessions", str(count), "--rate", str(rate)]
        client = subprocess.Popen([*command, "--seconds", str(seconds + 2 * SETTLING_S)], stdout=subprocess.PIPE)
        before = _frames(service)
        while len(service.sessions.all()) < count or _frames(service) == before:
            time.sleep(0.05)
        time.sleep(SETTLING_S)
        frames, started, cpu, switches = _frames(service), time.monotonic(), _thread_seconds(), _switches()
        time.sleep(seconds)
        elapsed, frames, switches = time.monotonic() - started, _frames(service) - frames, _switches() - switches
        spent = _thread_seconds()
        spent.subtract(cpu)
        told = json.loads(client.communicate()[0])
        while service.sessions.all():
            time.sleep(0.05)
        a_frame = 1000 / max(1, frames)
        row = {
            "sessions": count,
            "cpu_ms_a_frame": round(a_frame * sum(spent.values()), 3),
            "frames_per_s_of_session": round(frames / elapsed / count, 2),
            "waits_a_frame": round(switches / max(1, frames), 2),
            **told,
            "threads_ms_a_frame": {
                name: round(a_frame * taken, 3) for name, taken in spent.most_common() if a_frame * taken > 0.005
            },
        }
        print(json.dumps(row), flush=True)
    server.should_exit = True
    thread.join(10)
    if renderer is not None:
        renderer.close()


def drawn(avatar: str, size: int) -> tuple[AvatarFacts, list[FrameRecord]]:
    """The avatar saying the sample, drawn to planes before anything is measured."""
    live = InProcessGraph(Engine(Library(None, serving_policy=True), "cpu"))
    pcm = _speech(16_000)
    gathered = Gathered()

    async def draw() -> AvatarFacts:
        facts = await live.prepare(avatar)
        output = OutputFormat(size, size, pixel_format=PixelFormat.YUV420)
        await perform(live, facts, output, whole(pcm, np.repeat(pcm, 3)[:, None]), gathered)
        return facts

    facts = asyncio.run(draw())
    live.close()
    assert len(gathered.records) == frames_covering(len(pcm))
    return facts, gathered.records


def _speech(rate: int) -> np.ndarray:
    return resample(read_sound(SAMPLE).model_pcm, 16_000, rate)


def _thread_seconds() -> Counter[str]:
    """Processor time of this process' threads by their names, those of pools together."""
    names = {thread.native_id: thread.name.rstrip("0123456789").rstrip("_-") for thread in threading.enumerate()}
    spent = Counter[str]()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it ended
            taken = int((task / "schedstat").read_text().split()[0]) / 1e9
            spent[names.get(int(task.name), "others")] += taken
    return spent


def _switches() -> int:
    """How often a thread of this process has waited, for whatever: each is a wake-up."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


def _frames(service: Service) -> int:
    """Distinct ones: a repeat is cheaper."""
    text = service.prometheus.exposition().decode()
    return round(
        sum(
            float(line.split()[-1])
            for line in text.splitlines()
            if line.startswith("being_frames_total") and "distinct" in line
        )
    )


async def _talk(url: str, count: int, seconds: float, rate: int) -> None:
    pcm = (_speech(rate) * 32767).astype("<i2")
    results = await asyncio.gather(*(_one(url, pcm, seconds, rate) for _ in range(count)))
    received, p50, p95 = np.array(results).T
    told = {"kbit_s": sum(received) * 8 / 1000 / seconds / count, "p50_ms": np.mean(p50), "p95_ms": np.mean(p95)}
    click.echo(json.dumps({key: round(float(value), 1) for key, value in told.items()}))


async def _one(url: str, pcm: np.ndarray, seconds: float, rate: int) -> tuple[float, float, float]:
    """Bytes that came, and latencies as the server tells them: from a frame's tick to its sending."""
    received = 0
    latency = {"p50": 0.0, "p95": 0.0}
    chunk = round(rate * CHUNK_S)
    async with websockets.connect(url, max_size=None) as connection:

        async def listen() -> None:
            nonlocal received, latency
            async for message in connection:
                if isinstance(message, bytes):
                    received += len(message)
                elif (event := json.loads(message))["type"] == "stats":
                    latency = event["latency_ms"] or latency

        listening = asyncio.create_task(listen())
        started = time.monotonic()
        for number in range(round(seconds / CHUNK_S)):
            at = number * chunk % (len(pcm) - chunk)
            await connection.send(pcm[at : at + chunk].tobytes())
            if number % 12 == 0:
                await connection.send(json.dumps({"type": "received", "bytes": received}))
            await asyncio.sleep(max(0.0, started + (number + 1) * CHUNK_S - time.monotonic()))
        listening.cancel()
    return float(received), latency["p50"], latency["p95"]


if __name__ == "__main__":
    main()
