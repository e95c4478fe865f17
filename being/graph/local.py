"""The graph in this process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from being.graph.contract import Graph
from being.graph.sound_encoder import SoundEncoder
from being.graph.tick import avatar_facts, encode, prepare_tick
from being.inference.engine import Engine
from being.inference.frames import FrameRecord
from being.live.requests import AvatarFacts, FrameRequest

__all__ = ["Graph", "InProcessGraph"]


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
        return await asyncio.get_running_loop().run_in_executor(
            self._worker, avatar_facts, self.engine, self.encoder, avatar
        )

    async def submit(self, tick: Sequence[FrameRequest]) -> list[FrameRecord]:
        return await asyncio.get_running_loop().run_in_executor(self._worker, self.draw, tick)

    def close(self) -> None:
        """Let the worker thread end; ticks under way are finished, waiting ones are dropped."""
        self._worker.shutdown(wait=True, cancel_futures=True)

    def draw(self, tick: Sequence[FrameRequest]) -> list[FrameRecord]:
        """`submit` without the thread."""
        started = time.perf_counter()
        prepared = prepare_tick(tick, encode(tick, self.engine.library, self.encoder))
        encoded = time.perf_counter()
        drawn = self.engine.render_frames(prepared.drives)
        self.seconds["features"] += encoded - started
        self.seconds["draw"] += time.perf_counter() - encoded
        return prepared.answer(drawn).records()
