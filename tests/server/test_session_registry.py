"""Clients that come, are lost, come back and do not, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from support.live import Measured, black_frames, tiny_client, tiny_facts
from support.virtual_time import run_virtually

from being.avatar.folder import Avatar
from being.inference.frames import FrameRecord
from being.live.requests import AvatarFacts, FrameRequest
from being.server.admission import Load
from being.server.frame_loop import FrameLoop
from being.server.problems import Problem
from being.server.session_registry import SessionRegistry

GONE_S = 10.0


class Desk:
    """A registry over a frame loop that does not run."""

    def __init__(self, avatar: Avatar) -> None:
        self._avatar = avatar
        self.meter = Measured()
        self.frame_loop = FrameLoop(self, self.meter, now=asyncio.get_running_loop().time)
        self.sessions = SessionRegistry(self.frame_loop, GONE_S, self.meter)

    async def prepare(self, avatar: str) -> AvatarFacts:
        return tiny_facts(self._avatar)

    async def submit(self, tick: list[FrameRequest]) -> list[FrameRecord]:
        return black_frames(tick)

    @property
    def counted(self) -> tuple[float, float]:
        return self.meter.gauges["being_sessions", "live"], self.meter.gauges["being_sessions", "waiting"]


def play(avatar: Avatar, scenario: Callable[[Desk], Awaitable[None]]) -> None:
    async def whole() -> None:
        await scenario(Desk(avatar))

    run_virtually(whole())


def test_a_lost_client_comes_back_with_its_token(tiny_avatar: Avatar) -> None:
    async def scenario(desk: Desk) -> None:
        client = tiny_client(tiny_avatar, "a")
        desk.sessions.add(client)
        assert desk.frame_loop.scheduler.sessions == ["a"] and desk.counted == (1, 0)
        desk.sessions.detach(client, may_return=True)
        assert desk.frame_loop.scheduler.sessions == [] and desk.counted == (0, 1)
        await asyncio.sleep(GONE_S - 0.01)
        for token in ("", client.token + "x"):
            assert desk.sessions.resume("a", token, "tiny") is None
        assert desk.sessions.resume("b", client.token, "tiny") is None
        assert desk.sessions.resume("a", client.token, "other") is None, "it plays another avatar"
        assert desk.frame_loop.scheduler.sessions == [] and desk.counted == (0, 1)
        assert desk.sessions.resume("a", client.token, "tiny") is client
        assert desk.frame_loop.scheduler.sessions == ["a"] and desk.counted == (1, 0)
        await asyncio.sleep(2 * GONE_S)
        assert desk.sessions.get("a") is client, "no timer of its absence is left"
        assert desk.sessions.resume("a", client.token, "tiny") is client, "a second connection takes over"
        assert desk.frame_loop.scheduler.sessions == ["a"]

    play(tiny_avatar, scenario)


def test_who_stays_away_is_forgotten(tiny_avatar: Avatar) -> None:
    async def scenario(desk: Desk) -> None:
        client = tiny_client(tiny_avatar, "a")
        desk.sessions.add(client)
        desk.sessions.detach(client, may_return=True)
        await asyncio.sleep(GONE_S - 0.01)
        assert len(desk.sessions) == 1 and desk.sessions.waiting == 1
        await asyncio.sleep(0.02)
        assert len(desk.sessions) == 0 and desk.counted == (0, 0)
        assert desk.sessions.resume("a", client.token, "tiny") is None
        with pytest.raises(Problem) as caught:
            desk.sessions.get("a")
        assert caught.value.details.status == 404

    play(tiny_avatar, scenario)


def test_a_goodbye_is_for_good(tiny_avatar: Avatar) -> None:
    async def scenario(desk: Desk) -> None:
        client = tiny_client(tiny_avatar, "a")
        desk.sessions.add(client)
        desk.sessions.detach(client, may_return=False)
        assert desk.sessions.all() == [] and desk.frame_loop.scheduler.sessions == [] and desk.counted == (0, 0)
        desk.sessions.detach(client, may_return=True)
        assert len(desk.sessions) == 0, "it does not come back by being detached once more"

    play(tiny_avatar, scenario)


def test_who_has_waited_longest_gives_way_first(tiny_avatar: Avatar) -> None:
    async def scenario(desk: Desk) -> None:
        clients = [tiny_client(tiny_avatar, name) for name in "abc"]
        for client in clients:
            desk.sessions.add(client)
        assert desk.sessions.loads() == {Load("tiny", 64, 48): 3}
        assert not desk.sessions.give_way(), "connected clients do not"
        desk.sessions.detach(clients[1], may_return=True)
        await asyncio.sleep(1.0)
        desk.sessions.detach(clients[0], may_return=True)
        assert desk.sessions.give_way()
        assert desk.sessions.all() == [clients[0], clients[2]] and desk.sessions.waiting == 1

    play(tiny_avatar, scenario)
