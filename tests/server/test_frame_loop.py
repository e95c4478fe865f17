"""The frame loop in virtual time, over a graph that answers when it is told to: no sleeping, no drawing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest
from support.live import Measured, black_frames, tiny_facts, tiny_session
from support.virtual_time import run_virtually

from being.avatar.folder import Avatar
from being.inference.frames import FrameRecord
from being.live.requests import AvatarFacts, FrameRequest
from being.live.scheduler import Delivery, Pacing, Picture, Repeat, Sound
from being.live.session import OUTPUT_FRAME, Session
from being.server.frame_loop import FrameLoop

FRAME_S = 0.04
PACING = Pacing()


class SlowGraph:
    """Answers tick n, counted from 0, after `seconds(n)`; raises what that raises."""

    def __init__(self, avatar: Avatar, seconds: Callable[[int], float]) -> None:
        self._avatar = avatar
        self._seconds = seconds
        self.asked: list[float] = []  # when each tick came
        self.cancelled: list[tuple[int, float]] = []  # ticks that were given up, and when

    async def prepare(self, avatar: str) -> AvatarFacts:
        return tiny_facts(self._avatar)

    async def submit(self, tick: Sequence[FrameRequest]) -> list[FrameRecord]:
        number, time = len(self.asked), asyncio.get_running_loop().time
        self.asked.append(time())
        try:
            await asyncio.sleep(self._seconds(number))
        except asyncio.CancelledError:
            self.cancelled.append((number, time()))
            raise
        return black_frames(tick)


class Notebook:
    """A delivery sink that remembers what it got, and when."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.got: list[tuple[float, Delivery]] = []

    def push(self, delivery: Delivery, now: float) -> None:
        self.got.append((now, delivery))

    @property
    def shown(self) -> list[tuple[float, Picture | Repeat]]:
        return [(at, one) for at, one in self.got if not isinstance(one, Sound)]

    @property
    def sound(self) -> list[tuple[float, Sound]]:
        return [(at, one) for at, one in self.got if isinstance(one, Sound)]


class Run:
    """One frame loop with one session, from time 0 on."""

    def __init__(self, avatar: Avatar, seconds: Callable[[int], float]) -> None:
        self.graph = SlowGraph(avatar, seconds)
        self.meter = Measured()
        self.sink = Notebook(tiny_session(avatar))

    def play(self, scenario: Callable[[FrameLoop], Awaitable[None]]) -> None:
        async def whole() -> None:
            self.loop = FrameLoop(self.graph, self.meter, now=asyncio.get_running_loop().time)
            self.loop.join(self.sink)
            self.loop.start()
            await scenario(self.loop)
            assert self.loop.alive
            await self.loop.close()
            assert not self.loop.alive

        run_virtually(whole())

    def assert_sound_is_whole(self, seconds: float) -> None:
        """Every frame's sound once, in order, at most the longest tick late, whatever became of the pictures."""
        ends = 0
        for at, sound in self.sink.sound:
            assert sound.index == ends, "no frame's sound is missing or handed out twice"
            ends += len(sound.pcm) // OUTPUT_FRAME
            assert -1e-6 <= at - sound.index * FRAME_S <= PACING.longest_tick * FRAME_S + 1e-6
        assert ends >= seconds / FRAME_S - PACING.longest_tick


def sleep(seconds: float) -> Callable[[FrameLoop], Awaitable[None]]:
    return lambda _: asyncio.sleep(seconds)


def test_ticks_start_when_they_are_due(tiny_avatar: Avatar) -> None:
    run = Run(tiny_avatar, lambda number: 0.03)
    run.play(sleep(1.995))
    np.testing.assert_allclose(run.graph.asked, FRAME_S * np.arange(50), atol=1e-6)
    assert all(isinstance(one, Picture) for _, one in run.sink.shown)
    assert [one.index for _, one in run.sink.shown] == list(range(50))
    np.testing.assert_allclose([at for at, _ in run.sink.shown], FRAME_S * np.arange(50) + 0.03, atol=1e-6)
    np.testing.assert_allclose([at for at, _ in run.sink.sound], FRAME_S * np.arange(50), atol=1e-6)
    assert run.meter.added["being_ticks"] == 50
    assert run.meter.added["being_late_ticks"] == run.meter.added["being_failed_ticks"] == 0
    assert run.meter.added["being_faded_ticks"] == 0
    np.testing.assert_allclose(run.meter.observed["being_stage_seconds", "graph"], 0.03, atol=1e-6)
    np.testing.assert_allclose(run.meter.observed["being_stage_seconds", "wait"], 0.0, atol=1e-6)


def test_a_late_answer_is_given_up_when_patience_is_over(tiny_avatar: Avatar) -> None:
    run = Run(tiny_avatar, lambda number: 5.0 if number == 10 else 0.03)
    run.play(sleep(4.0))
    ((number, at),) = run.graph.cancelled
    assert number == 10 and at == pytest.approx(10 * FRAME_S + PACING.patience_s, abs=1e-6)
    assert run.meter.added["being_failed_ticks"] == 1 and run.meter.added["being_faded_ticks"] > 0
    repeats = [one for _, one in run.sink.shown if isinstance(one, Repeat)]
    assert repeats[0].index == 10 and {one.reason for one in repeats} == {"late"}
    # The ticks behind the lost one are drawn, but not more than two are under way: the rest of the wait is repeats.
    waited = PACING.patience_s / FRAME_S
    assert 1 <= len(repeats) <= waited + PACING.longest_tick
    assert [one.index for _, one in run.sink.shown] == list(range(len(run.sink.shown))), "each frame once, in order"
    later = [one for at, one in run.sink.shown if at > 1.5]
    assert len(later) == pytest.approx(2.5 / FRAME_S, abs=2) and all(isinstance(one, Picture) for one in later)
    run.assert_sound_is_whole(4.0)


def test_a_failing_graph_is_repeats_and_one_line(tiny_avatar: Avatar, caplog: pytest.LogCaptureFixture) -> None:
    def seconds(number: int) -> float:
        if 10 <= number < 15:
            raise RuntimeError("the renderer\n  is gone")
        return 0.01

    run = Run(tiny_avatar, seconds)
    with caplog.at_level(logging.INFO, "being.server.frame_loop"):
        run.play(sleep(1.0))
    assert [one.index for _, one in run.sink.shown] == list(range(25))
    repeats = {one.index: one.reason for _, one in run.sink.shown if isinstance(one, Repeat)}
    assert repeats == {index: "RuntimeError: the renderer is gone" for index in range(10, 15)}
    assert run.meter.added["being_failed_ticks"] == 5
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"], "said once, and when it is over"
    run.assert_sound_is_whole(1.0)


def test_an_interruption_gives_up_what_is_under_way(tiny_avatar: Avatar) -> None:
    run = Run(tiny_avatar, lambda number: 0.3 if number == 5 else 0.02)

    async def scenario(loop: FrameLoop) -> None:
        await asyncio.sleep(5 * FRAME_S + 0.01)
        assert run.sink.session.interrupt() == 6
        loop.interrupted()
        await asyncio.sleep(0.5)

    run.play(scenario)
    assert [number for number, _ in run.graph.cancelled] == [5]
    at, repeat = run.sink.shown[5]
    assert isinstance(repeat, Repeat) and (repeat.index, repeat.reason) == (5, "interrupted")
    assert at == pytest.approx(5 * FRAME_S + 0.01, abs=1e-6), "at once, not when its answer would have come"
    at, picture = run.sink.shown[6]
    assert isinstance(picture, Picture) and (picture.index, picture.record.generation) == (6, 1)
    assert at == pytest.approx(6 * FRAME_S + 0.02, abs=1e-6), "the new frames wait for nothing old"
    assert run.meter.added["being_failed_ticks"] == 0


def test_who_has_left_gets_nothing(tiny_avatar: Avatar) -> None:
    run = Run(tiny_avatar, lambda number: 0.03)

    async def scenario(loop: FrameLoop) -> None:
        await asyncio.sleep(4 * FRAME_S + 0.01)
        loop.leave(run.sink)
        await asyncio.sleep(1.0)

    run.play(scenario)
    assert [one.index for _, one in run.sink.shown] == [0, 1, 2, 3], "what was under way finds nobody"
    assert len(run.graph.asked) == 5, "an empty loop asks for nothing"
    assert run.loop.scheduler.sessions == []


def test_closing_gives_up_what_is_under_way(tiny_avatar: Avatar) -> None:
    run = Run(tiny_avatar, lambda number: 0.3)
    run.play(sleep(0.01))
    assert run.graph.cancelled == [(0, pytest.approx(0.01, abs=1e-6))]
