"""A renderer in another process that shows pictures drawn before, reached as a session worker reaches its own.

What the worker does for it is all there: it encodes the sound of its sessions, sends ticks over a channel, and finds
their pictures in shared memory. Only the drawing is stood in for, by the time that an H100 takes.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from being.deployments.drawing import DrawingThread
from being.deployments.encoding import EncodingThread
from being.deployments.worker_encoder import WorkerEncoder

from being.avatar.library import Library
from being.graph.channel.client import FrameChannel
from being.graph.channel.server import ChannelServer
from being.graph.sound_encoder import SoundEncoder
from being.graph.tick import encode
from being.inference.frames import Drive, FrameRecord, PixelFormat
from being.inference.rendered import FrameInfo, Pictures, RenderedFrames
from being.live.requests import AudioContexts, AvatarFacts, FrameRequest

LAUNCH_S, FRAME_S = 0.0006, 0.00015  # of a call, and of each frame in it, as `render_batches.py` measured


class RecordedRenderer:
    """The process; killed in the end, for channels have threads that never return."""

    def __init__(self, pictures: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()  # held: the process ends with it
        self._process = context.Process(target=_renderer, args=(there, pictures), daemon=True)
        self._process.start()
        self.path: str = self._pipe.recv()

    def close(self) -> None:
        self._process.kill()
        self._process.join()


class ChannelGraph:
    """The graph as a session worker has it: sound encoded here, ticks through the channel of a renderer."""

    def __init__(self, facts: AvatarFacts, path: str, library: Library) -> None:
        self._facts, self._path = facts, path
        self._encoder = WorkerEncoder(library)
        self._channel: FrameChannel | None = None

    async def prepare(self, avatar: str) -> AvatarFacts:
        return self._facts

    async def submit(self, tick: Sequence[FrameRequest]) -> list[FrameRecord]:
        if self._channel is None:
            self._channel = FrameChannel(self._path)
        records, _, _ = await self._channel.draw(tick, await self._encoder(tick))
        return records


def _renderer(pipe: Connection, pictures: Path) -> None:
    planes = np.load(pictures)
    library, encoder = Library(None, serving_policy=True), SoundEncoder()

    def draw(drives: Sequence[Drive]) -> RenderedFrames:
        time.sleep(LAUNCH_S + FRAME_S * len(drives))
        pixels = planes[[drive.index % len(planes) for drive in drives]]
        return RenderedFrames(
            FrameInfo.of(drives), (Pictures(tuple(range(len(drives))), PixelFormat.YUV420, pixels),), {}
        )

    def encoded(requests: Sequence[FrameRequest]) -> AudioContexts:
        return encode(requests, library, encoder)

    drawing = DrawingThread(draw)
    channels = ChannelServer(EncodingThread(encoded, drawing).order, load=drawing.load)
    pipe.send(channels.path)
    pipe.recv()
