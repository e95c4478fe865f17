"""A sound through a graph into bytes: all of them in order, held back while nobody takes them, errors that end it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.live import black_frames, tiny_facts

from being.avatar.folder import Avatar
from being.errors import BeingError
from being.inference.frames import FrameRecord
from being.live.requests import AvatarFacts, FrameRequest, OutputFormat
from being.media.media_sink import Frame
from being.server.speech_job import BATCH, READY_BYTES, Emit, SpeechJob

FRAMES = 5 * BATCH
SOUND = np.zeros(640 * FRAMES, np.float32)


class BlackGraph:
    def __init__(self, avatar: Avatar) -> None:
        self._avatar = avatar
        self.drawn = 0

    async def prepare(self, avatar: str) -> AvatarFacts:
        return tiny_facts(self._avatar)

    async def submit(self, tick: Sequence[FrameRequest]) -> list[FrameRecord]:
        records = black_frames(tick)
        self.drawn += len(records)
        return records


class FailingGraph(BlackGraph):
    """Draws two batches."""

    async def submit(self, tick: Sequence[FrameRequest]) -> list[FrameRecord]:
        if self.drawn == 2 * BATCH:
            raise BeingError("the renderer is gone")
        return await super().submit(tick)


class NumberSink:
    """Each picture as so many bytes that begin with its number, and an end."""

    def __init__(self, emit: Emit, size: int) -> None:
        self._emit, self._size = emit, size

    def picture(self, index: int, frame: Frame) -> None:
        self._emit(index.to_bytes(4, "big").ljust(self._size, b"."))

    def repeat(self, index: int) -> None:
        raise AssertionError("nothing is late offline")

    def sound(self, pcm: np.ndarray) -> None: ...

    def close(self) -> None:
        self._emit(b"end")


def make_job(avatar: Avatar, graph: BlackGraph, pool: ThreadPoolExecutor, size: int = 16) -> SpeechJob:
    playback_pcm = np.repeat(SOUND, 3)[:, None]
    output = OutputFormat(64, 48)
    return SpeechJob(graph, pool, tiny_facts(avatar), output, SOUND, playback_pcm, lambda emit: NumberSink(emit, size))


def number(piece: bytes) -> int:
    return int.from_bytes(piece[:4], "big")


def test_every_byte_comes_in_order(tiny_avatar: Avatar) -> None:
    async def scenario(pool: ThreadPoolExecutor) -> list[bytes]:
        job = make_job(tiny_avatar, BlackGraph(tiny_avatar), pool)
        await job.open()
        pieces = [piece async for piece in job.pieces()]
        await job.close()
        return pieces

    with ThreadPoolExecutor(1) as pool:
        *pictures, end = asyncio.run(scenario(pool))
    assert end == b"end" and [number(piece) for piece in pictures] == list(range(FRAMES))


def test_drawing_waits_for_who_takes(tiny_avatar: Avatar) -> None:
    """A picture is half of what may lie ready, so the third one stops it until some are taken."""

    async def scenario(pool: ThreadPoolExecutor) -> None:
        graph = BlackGraph(tiny_avatar)
        job = make_job(tiny_avatar, graph, pool, READY_BYTES // 2)
        await job.open()
        pieces = job.pieces()
        assert number(await anext(pieces)) == 0
        before = -1
        while graph.drawn != before:  # until it stands still
            before = graph.drawn
            await asyncio.sleep(0.3)
        assert graph.drawn <= 2 * BATCH, "the batch that was taken from, and the one drawn while it was encoded"
        rest = [piece async for piece in pieces]
        assert len(rest) == FRAMES and graph.drawn == FRAMES
        await job.close()

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(scenario(pool))


def test_a_graph_that_fails_ends_it_behind_what_was_drawn(tiny_avatar: Avatar) -> None:
    async def scenario(pool: ThreadPoolExecutor) -> list[bytes]:
        job = make_job(tiny_avatar, FailingGraph(tiny_avatar), pool)
        await job.open()
        pieces = []
        with pytest.raises(BeingError, match="the renderer is gone"):
            async for piece in job.pieces():
                pieces.append(piece)
        await job.close()
        return pieces

    with ThreadPoolExecutor(1) as pool:
        pieces = asyncio.run(scenario(pool))
    assert [number(piece) for piece in pieces] == list(range(len(pieces))) and BATCH <= len(pieces) <= 2 * BATCH
