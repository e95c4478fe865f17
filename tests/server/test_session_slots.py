"""Room for sessions by number and by cost; who only waits for a lost client gives way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.live import Measured, black_frames, tiny_client, tiny_facts
from support.virtual_time import run_virtually

from being.avatar.folder import Avatar
from being.inference.frames import FrameRecord
from being.live.requests import AvatarFacts, FrameRequest
from being.server.admission import Admission, Load
from being.server.frame_loop import FrameLoop
from being.server.problems import Problem
from being.server.session_registry import SessionRegistry
from being.server.session_slots import REFERENCE, SessionSlots

LOAD = Load("tiny", 64, 48)


class Parts:
    """Slots and what they ask."""

    def __init__(self, avatar: Avatar, most: int, admission: Admission | None = None, by_cost: bool = True) -> None:
        self._avatar = avatar
        self.meter = Measured()
        self.sessions = SessionRegistry(FrameLoop(self, self.meter), 10.0, self.meter)
        self.slots = SessionSlots(admission or Admission(), self.sessions, most, self.meter, by_cost=by_cost)

    async def prepare(self, avatar: str) -> AvatarFacts:
        return tiny_facts(self._avatar)

    async def submit(self, tick: list[FrameRequest]) -> list[FrameRecord]:
        return black_frames(tick)

    def refused(self) -> Problem:
        with pytest.raises(Problem) as caught, self.slots.opening(LOAD):
            pass
        return caught.value


def test_sessions_that_are_being_opened_count(tiny_avatar: Avatar) -> None:
    parts = Parts(tiny_avatar, most=2)
    parts.sessions.add(tiny_client(tiny_avatar))
    with parts.slots.opening(LOAD):
        problem = parts.refused()
        assert problem.details.status == 503 and problem.details.retry_after == 5
        assert parts.meter.added["being_refused sessions"] == 1
    with parts.slots.opening(LOAD):
        pass  # the place was given back


def test_a_place_is_given_back_when_opening_fails(tiny_avatar: Avatar) -> None:
    parts = Parts(tiny_avatar, most=1)
    with pytest.raises(ZeroDivisionError), parts.slots.opening(LOAD):
        _ = 1 / 0
    with parts.slots.opening(LOAD):
        pass


def test_who_waits_for_a_lost_client_gives_way(tiny_avatar: Avatar) -> None:
    async def scenario() -> None:
        parts = Parts(tiny_avatar, most=1)
        client = tiny_client(tiny_avatar)
        parts.sessions.add(client)
        parts.refused()
        parts.sessions.detach(client, may_return=True)
        with parts.slots.opening(LOAD):
            assert len(parts.sessions) == 0

    run_virtually(scenario())


def test_a_session_too_dear_is_refused_with_its_cost(tiny_avatar: Avatar) -> None:
    admission = Admission(budget=0.8)
    for _ in range(50):
        admission.observe({LOAD: 1}, 0.020)
        admission.observe({Load("tiny", *REFERENCE): 1}, 0.030)
    parts = Parts(tiny_avatar, most=9, admission=admission)
    assert parts.slots.room("tiny").in_all == 1, "30 ms of the 32 that may be planned"
    assert parts.slots.frame_s("tiny") == pytest.approx(0.030)
    parts.sessions.add(tiny_client(tiny_avatar))
    assert parts.slots.room("tiny").in_all == 0
    assert "a 64x48 frame costs 20 ms" in parts.refused().details.detail
    assert parts.meter.added["being_refused cost"] == 1


def test_without_admission_only_the_number_counts(tiny_avatar: Avatar) -> None:
    admission = Admission(budget=0.8)
    for _ in range(50):
        admission.observe({LOAD: 1, Load("tiny", *REFERENCE): 1}, 0.5)
    parts = Parts(tiny_avatar, most=3, admission=admission, by_cost=False)
    assert parts.slots.use().by_cost is False and parts.slots.room("tiny").in_all == 3
    parts.sessions._frame_loop.scheduler.refine_fade.late()
    client = tiny_client(tiny_avatar)
    client.session.output = replace(client.session.output, refine=0.5)
    parts.sessions.add(client)
    assert parts.sessions.faded and parts.slots.room("tiny").in_all == 2
    with parts.slots.opening(LOAD):
        parts.slots.check_alone(LOAD)
        with parts.slots.opening(LOAD):
            assert "holds 3 sessions and is full" in str(parts.refused().details.detail)


def test_nobody_comes_in_while_strengths_are_lowered(tiny_avatar: Avatar) -> None:
    parts = Parts(tiny_avatar, most=9)
    fade = parts.sessions._frame_loop.scheduler.refine_fade
    fade.late()
    with parts.slots.opening(LOAD):
        pass  # the first always may
    client = tiny_client(tiny_avatar)
    parts.sessions.add(client)
    with parts.slots.opening(LOAD):
        pass  # nobody's strength is lowered
    client.session.output = replace(client.session.output, refine=0.5)
    assert "come late" in str(parts.refused().details.detail)
    for _ in range(2000):
        fade.in_time()
    with parts.slots.opening(LOAD):
        pass
