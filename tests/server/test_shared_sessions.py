"""Workers over one directory, in virtual time: sessions move, the directory is lost, arrivals come all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from support.live import Measured, tiny_client
from support.virtual_time import run_virtually
from support.workers import BlackGraph, LocalDirectory

from being.avatar.folder import Avatar
from being.graph.rendered_batch import RendererLoad
from being.inference.compositing import PictureFile
from being.live.session import OUTPUT_RATIO
from being.server.admission import Admission, Load
from being.server.backgrounds import Backgrounds
from being.server.client_session import ClientSession
from being.server.frame_loop import FrameLoop
from being.server.problems import Problem
from being.server.room_plan import RendererShare, Room
from being.server.session_registry import SessionRegistry
from being.server.session_slots import SessionSlots
from being.server.shared_sessions import ANSWER_S, DEPOSIT_S, SETTLED_S, SharedSessions

LOAD = Load("tiny", 64, 48)
GONE_S = 10.0


class Worker:
    """Its sessions, and what it tells of them; its frame loop does not run."""

    def __init__(self, avatar: Avatar, directory: LocalDirectory, name: str) -> None:
        self.meter = Measured()
        self.admission = Admission()
        self.backgrounds = Backgrounds(512)
        loop = FrameLoop(BlackGraph(avatar), self.meter, now=asyncio.get_running_loop().time)
        self.sessions = SessionRegistry(loop, GONE_S, self.meter)
        self.loads: dict[int, list[RendererLoad]] = {}
        self.slots = SessionSlots(self.admission, self.sessions, 64, self.meter, lambda: self.loads)
        self.shared = SharedSessions(
            directory, name, self.sessions, self.backgrounds, self.slots, self.meter, lambda: name.encode()
        )

    def enter(self, client: ClientSession) -> None:
        self.sessions.add(client)
        self.shared.hurry()

    def lose(self, client: ClientSession) -> None:
        self.sessions.detach(client, may_return=True)
        self.shared.hurry()


Scenario = Callable[[LocalDirectory, Worker, Worker], Awaitable[None]]


def play(avatar: Avatar, scenario: Scenario, **options: float) -> None:
    async def whole() -> None:
        directory = LocalDirectory(GONE_S, **options)
        one, two = (Worker(avatar, directory, name) for name in ("one", "two"))
        for worker in (one, two):
            worker.shared.start()
        try:
            await scenario(directory, one, two)
        finally:
            for worker in (one, two):
                await worker.shared.close()
                worker.sessions.close()

    run_virtually(whole())


def say(client: ClientSession, seconds: float) -> None:
    pcm = np.random.default_rng(0).standard_normal(round(16_000 * seconds)).astype(np.float32)
    client.session.push_audio(pcm, np.repeat(pcm, OUTPUT_RATIO)[:, None], 0.0)
    client.session.take(1, 1.0)


def test_a_lost_client_s_session_is_left_at_once_and_forgotten_here(tiny_avatar: Avatar) -> None:
    async def scenario(directory: LocalDirectory, one: Worker, two: Worker) -> None:
        client = tiny_client(tiny_avatar)
        one.enter(client)
        await asyncio.sleep(2 * DEPOSIT_S)
        say(client, 3.0)
        one.lose(client)
        await asyncio.sleep(0.1)
        assert len(one.sessions) == 0
        deposit = await two.shared.withdraw("a", client.token, "tiny")
        assert deposit is not None and deposit.state().session.next_frame == 1
        assert deposit.model.end == 3 * 16_000, "what it said last is there"
        assert await one.shared.withdraw("a", "wrong", "tiny") is None

    play(tiny_avatar, scenario)


def test_who_holds_a_session_that_went_on_elsewhere_lets_go(tiny_avatar: Avatar) -> None:
    async def scenario(directory: LocalDirectory, one: Worker, two: Worker) -> None:
        client = tiny_client(tiny_avatar)
        one.enter(client)
        await asyncio.sleep(DEPOSIT_S)
        assert await two.shared.withdraw("a", client.token, "tiny") is not None
        await asyncio.sleep(2 * DEPOSIT_S)
        assert len(one.sessions) == 0

    play(tiny_avatar, scenario)


def test_the_directory_is_lost_and_learns_all_again(tiny_avatar: Avatar) -> None:
    async def scenario(directory: LocalDirectory, one: Worker, two: Worker) -> None:
        client = tiny_client(tiny_avatar)
        one.enter(client)
        one.backgrounds.pictures.keep(PictureFile("0123456789abcdef", b"jpeg"))
        say(client, 3.0)
        await asyncio.sleep(2 * DEPOSIT_S)
        directory.restart()
        await asyncio.sleep(2 * DEPOSIT_S + 0.2)
        deposit = await two.shared.withdraw("a", client.token, "tiny")
        assert deposit is not None and deposit.model.end == 3 * 16_000
        await two.shared.fetch_picture("0123456789abcdef")
        assert two.backgrounds.pictures.get("0123456789abcdef") == PictureFile("0123456789abcdef", b"jpeg")

    play(tiny_avatar, scenario)


def test_a_worker_goes_on_alone(tiny_avatar: Avatar) -> None:
    async def scenario(directory: LocalDirectory, one: Worker, two: Worker) -> None:
        client = tiny_client(tiny_avatar)
        one.enter(client)
        directory.down = True
        async with one.shared.place(["b"], LOAD) as name:
            assert name == "b"
        assert [info["id"] for info in await one.shared.listing()] == ["a"]
        one.lose(client)
        await asyncio.sleep(GONE_S / 2)
        assert one.sessions.resume("a", client.token, "tiny") is client, "it keeps lost clients' sessions itself"
        directory.down = False
        await asyncio.sleep(DEPOSIT_S + 0.1)
        assert [info["id"] for info in await two.shared.listing()] == ["a"]

    play(tiny_avatar, scenario)


def test_a_worker_alone_goes_by_what_the_renderer_tells(tiny_avatar: Avatar) -> None:
    """Others' sessions are in the renderer's load: its own would leave room for three more."""

    async def scenario(directory: LocalDirectory, one: Worker, two: Worker) -> None:
        one.enter(tiny_client(tiny_avatar))
        for _ in range(50):
            one.admission.observe({LOAD: 1}, 0.008)
        directory.down = True
        await asyncio.sleep(2 * DEPOSIT_S)
        one.loads = {0: [RendererLoad(0.8, 0, 4.0, "r")]}
        with one.slots.opening(LOAD):
            with pytest.raises(Problem, match="the renderer has no time left"):
                async with one.shared.place(["b"], LOAD):
                    pytest.fail("it was let in")
            one.loads = {0: [RendererLoad(None, 0, 4.0, "r")]}
            async with one.shared.place(["b"], LOAD):
                pass

    play(tiny_avatar, scenario)


def test_the_room_of_all_workers(tiny_avatar: Avatar) -> None:
    async def scenario(directory: LocalDirectory, one: Worker, two: Worker) -> None:
        here = Room(7, {"": 7})
        assert (await one.shared.room(LOAD, here)).by_worker == {"one": 7}, "nobody has told of anything"
        for worker in (one, two):
            worker.loads = {0: [RendererLoad(0.2, 0, 1.0, "r")]}
        one.enter(tiny_client(tiny_avatar))
        for _ in range(50):
            one.admission.observe({LOAD: 1}, 0.008)
        await asyncio.sleep(5.0)
        room = await two.shared.room(LOAD, here)
        assert room == Room(3, {"one": 3, "two": 3}, {"r": RendererShare(0.2, pytest.approx(0.2))})
        directory.down = True
        assert await two.shared.room(LOAD, here) == Room(7, {"two": 7}), "a worker alone tells its own"

    play(tiny_avatar, scenario)


def test_a_directory_that_never_answers_holds_nobody_up_for_long(tiny_avatar: Avatar) -> None:
    async def scenario(directory: LocalDirectory, one: Worker, two: Worker) -> None:
        began = asyncio.get_running_loop().time()
        async with one.shared.place(["b"], LOAD):
            assert asyncio.get_running_loop().time() - began == pytest.approx(ANSWER_S)

    play(tiny_avatar, scenario, delay_s=3600.0)


def test_a_hand_over_leaves_everything(tiny_avatar: Avatar) -> None:
    async def scenario(directory: LocalDirectory, one: Worker, two: Worker) -> None:
        clients = [tiny_client(tiny_avatar, name) for name in "abc"]
        for client in clients:
            one.enter(client)
        await asyncio.sleep(DEPOSIT_S)
        directory.restart()  # it knows nothing of them: all is asked for once more
        for client in clients:
            say(client, 2.0)
        await one.shared.hand_over()
        assert len(one.sessions) == 0
        for client in clients:
            deposit = await two.shared.withdraw(client.session.id, client.token, "tiny")
            assert deposit is not None and deposit.model.end == 2 * 16_000

    play(tiny_avatar, scenario)


def test_who_comes_back_before_it_is_left_stays(tiny_avatar: Avatar) -> None:
    async def scenario(directory: LocalDirectory, one: Worker, two: Worker) -> None:
        client = tiny_client(tiny_avatar)
        one.enter(client)
        one.lose(client)
        await asyncio.sleep(0.002)  # it is being told
        assert ("a",) in [report.left for report in directory.reports] and len(one.sessions) == 1
        assert one.sessions.resume("a", client.token, "tiny") is client
        await asyncio.sleep(2 * DEPOSIT_S)
        assert one.sessions.all() == [client]
        assert [info["state"] for info in await two.shared.listing()] == ["live"]

    play(tiny_avatar, scenario)


def test_arrivals_wait_for_the_measurement(tiny_avatar: Avatar) -> None:
    async def scenario(directory: LocalDirectory, one: Worker, two: Worker) -> None:
        admitted: list[float] = []
        refused: list[float] = []
        now = asyncio.get_running_loop().time

        async def arrive(number: int) -> None:
            worker = (one, two)[number % 2]
            try:
                async with worker.shared.place([f"s{number}"], LOAD):
                    worker.sessions.add(tiny_client(tiny_avatar, f"s{number}"))
                    admitted.append(now())
            except Problem as problem:
                assert problem.details.status == 503
                refused.append(now())

        async def measure() -> None:
            await asyncio.sleep(1.0)
            for _ in range(100):
                one.admission.observe({LOAD: 1}, 0.008)  # of 34 ms that may be planned: four sessions

        await asyncio.gather(measure(), *(arrive(number) for number in range(64)))
        assert len(admitted) == 4 and len(refused) == 60
        assert admitted[0] < 0.1 and admitted[1] > 1.0
        assert max(refused) < 2 * SETTLED_S

    play(tiny_avatar, scenario)


def test_the_first_free_id_is_taken(tiny_avatar: Avatar) -> None:
    async def scenario(directory: LocalDirectory, one: Worker, two: Worker) -> None:
        two.admission.observe({LOAD: 1}, 0.001)
        async with one.shared.place(["wished", "own"], LOAD) as first:
            one.enter(tiny_client(tiny_avatar, first))
            for _ in range(10):
                one.admission.observe({LOAD: 1}, 0.001)
            async with two.shared.place(["wished", "own"], LOAD) as second:
                assert (first, second) == ("wished", "own")

    play(tiny_avatar, scenario)


def test_a_place_is_given_back_where_opening_fails(tiny_avatar: Avatar) -> None:
    async def scenario(directory: LocalDirectory, one: Worker, two: Worker) -> None:
        with pytest.raises(ZeroDivisionError):
            async with one.shared.place(["a"], LOAD):
                _ = 1 / 0
        await asyncio.sleep(0.1)
        async with two.shared.place(["a"], LOAD) as name:
            assert name == "a"

    play(tiny_avatar, scenario)


def test_deposits_hold_only_what_is_new(tiny_avatar: Avatar) -> None:
    async def scenario(directory: LocalDirectory, one: Worker, two: Worker) -> None:
        client = tiny_client(tiny_avatar)
        one.enter(client)
        say(client, 60.0)
        await asyncio.sleep(3 * DEPOSIT_S)
        sizes = [sum(len(one.model.pcm) for one in report.deposits) for report in directory.reports]
        assert max(sizes) == 60 * 16_000 and sizes[-1] == 0
        assert all(len(one.head) < 10_000 for report in directory.reports for one in report.deposits)

    play(tiny_avatar, scenario)
