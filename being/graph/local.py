"""The graph: a tick of spans in, frame records out. The protocol the conductor knows, and its local form."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import numpy.typing as npt

from being.errors import BeingError
from being.graph.sound_encoder import SoundEncoder
from being.inference.engine import Engine
from being.inference.frames import Drive, FrameRecord
from being.live.requests import AvatarFacts, FrameRequest


class Graph(Protocol):
    """Draws. Stateless but for loaded avatars: an answer depends on its request only, so a lost one can be repeated."""

    async def prepare(self, avatar: str) -> AvatarFacts:
        """Load an avatar before its first frame is due; InputError or FormatError where it cannot be."""
        ...

    async def submit(self, tick: Sequence[FrameRequest]) -> list[FrameRecord]:
        """One record a frame, span after span in the order of the request. A bad row carries its error."""
        ...


class InProcessGraph:
    """The graph in this process: sound encoder and engine in one worker thread, so that a second tick may queue behind
    the first while the caller delivers frames.

    Attributes
    ----------
    seconds : time spent by stage since the start ("features", "draw").
    """

    def __init__(self, engine: Engine, encoder: SoundEncoder | None = None) -> None:
        self.engine = engine
        self.encoder = encoder or SoundEncoder()
        self.seconds = {"features": 0.0, "draw": 0.0}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="being-graph")

    async def prepare(self, avatar: str) -> AvatarFacts:
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._facts, avatar)

    async def submit(self, tick: Sequence[FrameRequest]) -> list[FrameRecord]:
        return await asyncio.get_running_loop().run_in_executor(self._worker, self.draw, tick)

    def close(self) -> None:
        """Let the worker thread end; ticks under way are finished, waiting ones are dropped."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def draw(self, tick: Sequence[FrameRequest]) -> list[FrameRecord]:
        """`submit` without the thread."""
        started = time.perf_counter()
        heard = [self._drives(span) for span in tick]
        encoded = time.perf_counter()
        drawn = iter(self.engine.render([drive for drives in heard if isinstance(drives, list) for drive in drives]))
        self.seconds["features"] += encoded - started
        self.seconds["draw"] += time.perf_counter() - encoded
        records: list[FrameRecord] = []
        for span, drives in zip(tick, heard, strict=True):
            records += (next(drawn) for _ in drives) if isinstance(drives, list) else span_failed(span, drives)
        return records

    def _drives(self, span: FrameRequest) -> list[Drive] | BeingError:
        try:
            manifest = self.engine.library.get(span.avatar).manifest
            return span_drives(span, self.encoder.encode(span, manifest.features, manifest.windows))
        except BeingError as error:
            return error

    def _facts(self, avatar: str) -> AvatarFacts:
        loaded = self.engine.prepare(avatar).avatar
        manifest = loaded.manifest
        reach = self.encoder.reach(manifest.features, manifest.windows)
        return AvatarFacts(manifest.id, manifest.width, manifest.height, reach, loaded.motion)


def span_drives(span: FrameRequest, contexts: npt.NDArray[np.float32]) -> list[Drive]:
    """One drive for each frame of a span."""
    return [
        Drive(
            avatar=span.avatar,
            context=contexts[index],
            eye=float(span.eyes[index]),
            head_pose=span.head_poses[index],
            torso_pose=span.torso_poses[index],
            emotion=None if span.emotion is None else span.emotion[index],
            width=span.stage.width,
            height=span.stage.height,
            background=span.stage.background,
            generation=span.generation,
            index=span.first + index,
            yuv=span.stage.yuv,
        )
        for index in range(span.count)
    ]


def span_failed(span: FrameRequest, error: BeingError) -> list[FrameRecord]:
    """The records of a span that could not be drawn at all."""
    return [
        FrameRecord(span.first + index, span.generation, None, None, None, None, span.head_poses[index], str(error))
        for index in range(span.count)
    ]
