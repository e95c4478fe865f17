"""The drawing thread: what waits is merged, live work goes first, a bad batch answers everybody."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from being.deployments import drawing
from being.deployments.drawing import DrawingThread

from being.inference.frames import Drive
from being.inference.rendered import FrameInfo, RenderedFrames

POSE = np.zeros((3, 4), np.float32)


def drive(index: int) -> Drive:
    return Drive("a", np.zeros((8, 16, 1), np.float32), 0.0, POSE, POSE, index=index)


class Press:
    """Draws nothing, slowly if told to, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.fail = False

    def __call__(self, drives: Sequence[Drive]) -> RenderedFrames:
        self.batches.append([one.index for one in drives])
        self.entered.set()
        assert self.gate.wait(10)
        if self.fail:
            raise ValueError("no ink")
        return RenderedFrames(FrameInfo.of(drives))


def test_waiting_ticks_become_one_batch_and_live_goes_first() -> None:
    press = Press()

    async def scenario() -> None:
        draw = DrawingThread(press)
        running = asyncio.create_task(draw([drive(0)], live=True))
        await asyncio.to_thread(press.entered.wait, 10)
        film = asyncio.create_task(draw([drive(index) for index in range(100, 105)], live=False))
        ticks = [asyncio.create_task(draw([drive(index), drive(index + 1)], live=True)) for index in (10, 20)]
        given_up = asyncio.create_task(draw([drive(30)], live=True))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.sleep(0)
        press.gate.set()
        assert (await running).frames.info.indices.tolist() == [0]
        for index, tick in zip((10, 20), ticks, strict=True):
            drawn = await tick
            assert drawn.frames.info.indices.tolist() == [index, index + 1] and drawn.seconds >= 0
        assert (await film).frames.info.indices.tolist() == [100, 101, 102, 103, 104]

    asyncio.run(scenario())
    assert press.batches == [[0], [10, 11, 20, 21], [100, 101], [102, 103], [104]]


def test_failure_reaches_every_caller_and_the_thread_lives() -> None:
    press = Press()
    press.gate.set()

    async def scenario() -> None:
        draw = DrawingThread(press)
        press.fail = True
        with pytest.raises(ValueError, match="no ink"):
            await draw([drive(0)], live=True)
        press.fail = False
        assert len((await draw([drive(1)], live=True)).frames) == 1
        assert draw.alive

    asyncio.run(scenario())


def test_answers_bring_the_load() -> None:
    """Live frames that wait, the share of the time that was spent drawing, the size of a batch."""
    press = Press()

    async def scenario() -> None:
        draw = DrawingThread(press)
        first = asyncio.create_task(draw([drive(0)], live=True))
        await asyncio.to_thread(press.entered.wait, 10)
        waiting = [asyncio.create_task(draw([drive(index) for index in range(3)], live=True))]
        waiting.append(asyncio.create_task(draw([drive(index) for index in range(5)], live=False)))
        await asyncio.sleep(0.3)
        press.gate.set()
        load = (await first).load
        assert load.waiting == 3 and 0.2 < load.busy <= 1 and 0 < load.batch <= 1
        second, film = await asyncio.gather(*waiting)
        assert second.load.waiting == film.load.waiting == 0
        assert second.load.renderer == film.load.renderer == load.renderer != DrawingThread(press).load().renderer
        assert film.load.busy <= second.load.busy, "who is not live does not count"
        await asyncio.sleep(1.0)
        assert (await draw([drive(1)], live=True)).load.busy < load.busy, "it had a rest"

    asyncio.run(scenario())


def test_a_crowded_renderer_begins_batches_a_while_apart_and_an_idle_one_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drawing, "GATHER_S", 0.02)
    began: list[float] = []
    sizes: list[int] = []

    def slow(drives: Sequence[Drive]) -> RenderedFrames:
        began.append(time.perf_counter())
        sizes.append(len(drives))
        time.sleep(0.013)  # of 20 ms: crowded
        return RenderedFrames(FrameInfo.of(drives))

    draw = DrawingThread(slow)
    asked = time.perf_counter()
    asyncio.run(_one(draw))
    assert began[0] - asked < 0.01
    end = time.perf_counter() + 1.5
    while time.perf_counter() < end:
        draw.order([drive(0)], lambda result: None, live=True)
        time.sleep(0.002)
    crowded = np.diff(began)[len(began) // 2 :]
    assert np.median(crowded) >= 0.0199 and np.median(sizes[len(sizes) // 2 :]) >= 3


def test_a_crowded_renderer_draws_what_is_not_live_while_ticks_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "GATHER_S", 0.02)

    def slow(drives: Sequence[Drive]) -> RenderedFrames:
        time.sleep(0.012 if drives[0].index == 0 else 0.002)
        return RenderedFrames(FrameInfo.of(drives))

    draw, done = DrawingThread(slow), threading.Event()
    begun, ordered = time.perf_counter(), False
    while (passed := time.perf_counter() - begun) < 8 and not done.is_set():
        if passed > 1.0 and not ordered:  # crowded by then
            ordered = True
            draw.order([drive(1 + index) for index in range(40)], lambda result: done.set(), live=False)
        draw.order([drive(0)], lambda result: None, live=True)
        time.sleep(0.002)
    assert done.is_set()


async def _one(draw: DrawingThread) -> None:
    await draw([drive(0)], live=True)
