"""How many live sessions the renderer's process takes beside its GPU: channels, sound, batches, answers.

    python benchmarks/renderer_sessions.py --sessions 60 --sessions 100 --json renderer.json
    python benchmarks/renderer_sessions.py --device cuda --sessions 64 --sessions 128 --json renderer_h100.json

One process is the renderer as it is deployed, with its threads and channels. Where there is no GPU its work alone is
stood in for, by waiting as long as an H100 needs (--launch-ms for a call, --frame-ms for a frame, as measured by
render_batches.py). The other process is all session workers: each asks for the next frame of its sessions every 40 ms,
as the frame loop does, two ticks under way at most. With `--encoder worker` they send features that were made before,
with `--encoder renderer` new sound. Measured are the time of a tick, ticks that had to be left out, the renderer's
processor time by thread, and the frames it merged. Both processes want a core to themselves.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import click
import numpy as np
import torch
from machine import TICKS, facts

from being.audio.extractors import load_extractor
from being.avatar.library import Library
from being.graph.channel.client import FrameChannel
from being.graph.channel.server import ChannelServer
from being.graph.sound_encoder import SoundEncoder
from being.graph.tick import encode
from being.inference.engine import Engine
from being.inference.frame_batch import FrameBatch
from being.inference.frames import Drive, PixelFormat
from being.inference.items import RenderItem
from being.inference.renderable import RenderableAvatar
from being.inference.rendered import FrameInfo, RenderedFrames
from being.live.requests import (
    CONTEXT_STEPS,
    FRAME_SAMPLES,
    AudioContexts,
    FrameRequest,
    OutputFormat,
    audio_context_range,
)

AVATAR = "demo"
TICK_S = 0.04
IN_FLIGHT = 2
SETTLING_S = 2.0
SOUND_S = 2  # then again from its beginning


@dataclass(frozen=True)
class Plan:
    """What is measured; as the options of the command line."""

    encoder: str
    workers: int
    sessions: int
    seconds: float
    size: int
    device: str | None
    launch_s: float
    frame_s: float
    turn_ms: float | None


class WaitingBackend:
    """Takes a GPU's time and gives grey planes."""

    batch_sizes: Sequence[int] = (1,)
    max_items = 16  # as `backends.gpu`

    def __init__(self, launch_s: float, frame_s: float) -> None:
        self._launch_s, self._frame_s = launch_s, frame_s
        self._planes: dict[tuple[int, int, int], torch.Tensor] = {}

    def prepare(self, renderable: RenderableAvatar) -> None: ...

    def render(self, items: Sequence[RenderItem], pixel_format: PixelFormat | None = None) -> FrameBatch:
        assert pixel_format is PixelFormat.YUV420
        width, height = items[0][0].frame_size(items[0][1])
        np.stack([drive.context for _, drive in items])
        key = len(items), height, width
        if key not in self._planes:
            self._planes[key] = torch.full((len(items), 3 * height // 2, width), 128, dtype=torch.uint8)
        time.sleep(self._launch_s + self._frame_s * len(items))
        info = FrameInfo.of([drive for _, drive in items])
        clear = np.zeros(len(items), bool)
        none = torch.zeros(0, dtype=torch.uint8)
        return FrameBatch(info, self._planes[key], none, pixel_format, none, none, clear)


@click.command()
@click.option("--sessions", default=(60,), multiple=True, show_default=True)
@click.option("--encoder", type=click.Choice(["worker", "renderer"]), default="worker", show_default=True)
@click.option("--workers", default=12, show_default=True, help="Session workers that share them.")
@click.option("--seconds", default=6.0, show_default=True)
@click.option("--size", default=512, show_default=True, help="Side of the picture.")
@click.option("--device", help="Draw on it  [default: wait in its place].")
@click.option("--launch-ms", default=0.6, show_default=True, help="The GPU's time for a call.")
@click.option("--frame-ms", default=0.15, show_default=True, help="And for each frame of it.")
@click.option("--turn-ms", type=float, multiple=True, help="How long a thread may keep the interpreter  [default: 5].")
@click.option("--rounds", default=3, show_default=True, help="In turn; the medians count.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results here.")
def main(
    sessions: tuple[int, ...],
    encoder: str,
    workers: int,
    seconds: float,
    size: int,
    device: str | None,
    launch_ms: float,
    frame_ms: float,
    turn_ms: tuple[float, ...],
    rounds: int,
    json_path: Path | None,
) -> None:
    """Measure the renderer's process."""
    report: dict[str, Any] = {"command": " ".join(["python", *sys.argv]), "machine": facts(), "runs": []}
    kinds = [(count, turn) for count in sessions for turn in turn_ms or (None,)]
    found: dict[Any, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for count, turn in kinds:
            plan = Plan(encoder, workers, count, seconds, size, device, launch_ms / 1e3, frame_ms / 1e3, turn)
            found[count, turn].append(_run(plan))
    for (count, turn), runs in found.items():
        row: dict[str, Any] = {"encoder": encoder, "sessions": count, "workers": workers, "turn_ms": turn}
        for key in runs[0]:
            values = [run[key] for run in runs]
            row[key] = values[0] if isinstance(values[0], dict) else round(float(np.median(values)), 2)
        click.echo(json.dumps(row))
        report["runs"].append(row)
    if json_path is not None:
        json_path.write_text(json.dumps(report, indent=2) + "\n")


def _run(plan: Plan) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    renderer = context.Process(target=_renderer, args=(there, plan), daemon=True)
    renderer.start()
    try:
        return asyncio.run(_workers(here, here.recv(), plan))
    finally:
        renderer.kill()
        renderer.join()


def _renderer(pipe: Connection, plan: Plan) -> None:
    """The renderer's process, as `deployments/renderer.py` puts it together; it answers each message with what it did.

    It is killed in the end: channels have threads that never return.
    """
    from being.deployments.drawing import DrawingThread
    from being.deployments.encoding import EncodingThread

    if plan.turn_ms is not None:
        sys.setswitchinterval(plan.turn_ms / 1e3)
    library = Library(None, serving_policy=True)
    engine = Engine(library, plan.device or "cpu", "auto" if plan.device else "off")
    if plan.device is None:
        engine.backend = WaitingBackend(plan.launch_s, plan.frame_s)
    engine.prepare(AVATAR)
    if plan.device is not None:
        engine.warm_up(AVATAR)
    encoder = SoundEncoder()
    encoder.extractor(library.get(AVATAR).manifest.features)
    batches: list[int] = []

    def draw(drives: Sequence[Drive]) -> RenderedFrames:
        batches.append(len(drives))
        return engine.render_frames(drives)

    def encoded(requests: Sequence[FrameRequest]) -> AudioContexts:
        return encode(requests, library, encoder)

    drawing = DrawingThread(draw)
    channels = ChannelServer(EncodingThread(encoded, drawing).order, load=drawing.load)
    pipe.send(channels.path)
    while pipe.recv():
        before, started = _thread_seconds(), time.monotonic()
        batches.clear()
        pipe.recv()
        passed = time.monotonic() - started
        spent = _thread_seconds()
        spent.subtract(before)
        pipe.send(
            {
                "renderer_ms_per_s": round(1000 * sum(spent.values()) / passed),
                "frames_a_batch": round(float(np.mean(batches)), 1),
                "ms_per_s_of_threads": {
                    name: round(1000 * taken / passed) for name, taken in spent.items() if taken > 0
                },
            }
        )


def _thread_seconds() -> Counter[str]:
    """Processor time of this process' threads by their names."""
    spent = Counter[str]()
    for thread in threading.enumerate():
        try:
            fields = Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        spent[thread.name] += (int(fields[11]) + int(fields[12])) / TICKS
    return spent


async def _workers(pipe: Connection, path: str, plan: Plan) -> dict[str, Any]:
    workers, sessions = plan.workers, plan.sessions
    manifest = Library(None, serving_policy=True).get(AVATAR).manifest
    span = audio_context_range(load_extractor(manifest.features), manifest.windows)
    sound = 0.1 * np.random.default_rng(0).standard_normal(SOUND_S * 16_000, dtype=np.float32)
    looped = np.concatenate([sound, sound[: span.past + span.future]])
    pose = np.eye(3, 4, dtype=np.float32)[None]
    pose[0, 2, 3] = 10.0
    output = OutputFormat(plan.size, plan.size, pixel_format=PixelFormat.YUV420)
    eyes = np.zeros(1, np.float32)
    shape = CONTEXT_STEPS, load_extractor(manifest.features).width
    encoded: AudioContexts = [np.random.default_rng(n).random(shape, np.float32) for n in range(sessions)]
    took: list[float] = []
    left_out, frames = [0], [0]
    begun = time.monotonic() + 0.3

    def request(session: int, frame: int) -> FrameRequest:
        start = (FRAME_SAMPLES * (frame + 7 * session)) % len(sound)
        pcm = looped[start : start + span.past + span.future]
        return FrameRequest(str(session), AVATAR, 0, frame, pcm, pose, pose, eyes, output)

    async def worker(number: int) -> None:
        channel, own, flying = FrameChannel(path), range(number, sessions, workers), set[asyncio.Task[None]]()

        async def tick(frame: int, due: float) -> None:
            requests = [request(session, frame) for session in own]
            records, _, _ = await channel.draw(requests, encoded[: len(own)] if plan.encoder == "worker" else None)
            took.append(time.monotonic() - due)
            frames[0] += sum(record.image is not None for record in records)

        try:
            for frame in range(10**9):
                due = begun + TICK_S * (number / workers + frame)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                if len(flying) < IN_FLIGHT:
                    flying.add(task := asyncio.create_task(tick(frame, due)))
                    task.add_done_callback(flying.discard)
                else:
                    left_out[0] += 1
        finally:
            for task in flying:
                task.cancel()
            channel.close()

    running = [asyncio.create_task(worker(number)) for number in range(min(workers, sessions))]
    await asyncio.sleep(SETTLING_S)
    pipe.send(True)
    took.clear()
    left_out[0] = frames[0] = 0
    started = time.monotonic()
    await asyncio.sleep(plan.seconds)
    passed = time.monotonic() - started
    pipe.send(True)
    if not took:
        raise click.ClickException(f"no tick of {sessions} sessions was answered: ask for more --seconds, or fewer")
    p50, p95, p99 = (float(value) for value in np.percentile(np.array(took) * 1000, (50, 95, 99)))
    result = {
        "frames_per_s_of_session": frames[0] / passed / sessions,
        "ticks_left_out": left_out[0],
        "tick_ms_p50": p50,
        "tick_ms_p95": p95,
        "tick_ms_p99": p99,
        **pipe.recv(),
    }
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    return result


if __name__ == "__main__":
    main()
