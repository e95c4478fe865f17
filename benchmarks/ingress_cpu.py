"""CPU time of the session worker for each live session, socket to socket, without Serve and without drawing.

    python benchmarks/ingress_cpu.py --sessions 1 --sessions 2 --seconds 10

A server in this process: frame loop, client sessions, resampling, encoders, WebSockets, as `being serve` has them. The
graph answers each tick at once with planes that were drawn before the measurement. The clients are another process:
they speak in real time in pieces of 20 ms and acknowledge what arrives four times a second. What is measured is the
processor time of this process, all threads.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
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


class DrawnBefore:
    """A graph that shows frames drawn in advance, over and over."""

    def __init__(self, facts: AvatarFacts, records: Sequence[FrameRecord]) -> None:
        self._facts, self._records = facts, records

    async def prepare(self, avatar: str) -> AvatarFacts:
        return self._facts

    async def submit(self, tick: Sequence[FrameRequest]) -> list[FrameRecord]:
        return [
            replace(self._records[index % len(self._records)], index=index, generation=request.generation)
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
@click.option("--clients", hidden=True, help="URL: be the clients.")
def main(avatar: str, sessions: tuple[int, ...], seconds: float, size: int, rate: int, clients: str | None) -> None:
    """Measure the session worker's processor time."""
    if clients is not None:
        asyncio.run(_talk(clients, sessions[0], seconds, rate))
        return
    graph = DrawnBefore(*drawn(avatar, size))
    service = Service(Library(None, serving_policy=True), graph)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = uvicorn.Config(
        create_app(service), port=port, log_level="warning", ws_ping_interval=None, ws_per_message_deflate=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    for count in sessions:
        url = f"ws://127.0.0.1:{port}/v1/avatars/{avatar}/live?width={size}&height={size}&sample_rate={rate}"
        command = [sys.executable, __file__, "--clients", url, "--sessions", str(count), "--rate", str(rate)]
        client = subprocess.Popen([*command, "--seconds", str(seconds + 2 * SETTLING_S)], stdout=subprocess.PIPE)
        before = _frames(service)
        while len(service.sessions.all()) < count or _frames(service) == before:
            time.sleep(0.05)
        time.sleep(SETTLING_S)
        frames, started, cpu = _frames(service), time.monotonic(), _cpu()
        time.sleep(seconds)
        spent, elapsed, frames = _cpu() - cpu, time.monotonic() - started, _frames(service) - frames
        said = client.communicate()[0].decode().strip()
        while service.sessions.all():
            time.sleep(0.05)
        click.echo(
            f"{count} x {size}x{size}: {1000 * spent / elapsed / count:.1f} ms of CPU a second and session, "
            f"{1000 * spent / max(1, frames):.2f} ms a frame, {frames / elapsed / count:.1f} frames a second; {said}"
        )
    server.should_exit = True
    thread.join(10)


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


def _cpu() -> float:
    times = os.times()
    return times.user + times.system


def _frames(service: Service) -> int:
    text = service.prometheus.exposition().decode()
    return round(sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("being_frames_total")))


async def _talk(url: str, count: int, seconds: float, rate: int) -> None:
    pcm = (_speech(rate) * 32767).astype("<i2")
    results = await asyncio.gather(*(_one(url, pcm, seconds, rate) for _ in range(count)))
    click.echo(f"{sum(results) * 8 / 1000 / seconds / count:.0f} kbit/s each")


async def _one(url: str, pcm: np.ndarray, seconds: float, rate: int) -> int:
    received = 0
    chunk = round(rate * CHUNK_S)
    async with websockets.connect(url, max_size=None) as connection:

        async def listen() -> None:
            nonlocal received
            async for message in connection:
                if isinstance(message, bytes):
                    received += len(message)

        listening = asyncio.create_task(listen())
        started = time.monotonic()
        for number in range(round(seconds / CHUNK_S)):
            at = number * chunk % (len(pcm) - chunk)
            await connection.send(pcm[at : at + chunk].tobytes())
            if number % 12 == 0:
                await connection.send(json.dumps({"type": "received", "bytes": received}))
            await asyncio.sleep(max(0.0, started + (number + 1) * CHUNK_S - time.monotonic()))
        listening.cancel()
    return received


if __name__ == "__main__":
    main()
