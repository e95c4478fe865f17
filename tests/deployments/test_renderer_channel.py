"""Session workers over renderers: who came first does not keep them all, and who has enough keeps what it has."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray")

from being.deployments import channel_calls, renderer_channel
from being.deployments.channel_calls import ChannelCalls
from being.deployments.messages import ChannelAddress
from being.deployments.renderer_channel import RendererChannel
from ray.exceptions import RayError

from being.graph.channel.client import FrameChannel
from being.graph.channel.server import ChannelServer

PATIENCE_S = 20.0


class Place:
    """A renderer's side of channels; draws nothing."""

    def __init__(self, node: str = "here") -> None:
        self.server = ChannelServer(lambda *_: SimpleNamespace(over=False, cancel=lambda: None))
        self.calls = ChannelCalls(self.server, node)

    @property
    def held(self) -> int:
        return len(self.calls._changed)

    def full(self) -> None:
        """It can make no channel any more."""

        def no_arena() -> Any:
            raise OSError(24, "no descriptor")

        self.server._new_arena = no_arena


class Response:
    """A streamed answer, as Serve's are."""

    def __init__(self, addresses: AsyncIterator[ChannelAddress]) -> None:
        self._items: asyncio.Queue[ChannelAddress | None] = asyncio.Queue()
        self._task = asyncio.get_running_loop().create_task(self._run(addresses))

    async def _run(self, addresses: Any) -> None:
        async with contextlib.aclosing(addresses):
            async for address in addresses:
                self._items.put_nowait(address)
        self._items.put_nowait(None)

    def __aiter__(self) -> Response:
        return self

    async def __anext__(self) -> ChannelAddress:
        if (item := await self._items.get()) is None:
            raise StopAsyncIteration
        return item

    def cancel(self) -> None:
        self._task.cancel()

    def end(self) -> None:
        """From Serve's side."""
        self._task.cancel()
        self._items.put_nowait(None)


class Failing:
    """A call that fails once it is waited for, and says so again when it is cancelled."""

    async def __anext__(self) -> ChannelAddress:
        raise RuntimeError("not by Serve's own errors alone")

    def cancel(self) -> None:
        raise RuntimeError("no replica")


class Cancelled(Failing):
    """By Serve, not by who waits."""

    async def __anext__(self) -> ChannelAddress:
        raise asyncio.CancelledError


class Handle:
    """Serve: a call goes to the replica with the fewest."""

    def __init__(self, places: list[Place]) -> None:
        self.places = places
        self.asked = 0
        self.fails: Any = None
        self.avatars: list[tuple[str, ...]] = []
        self.responses: list[Response] = []
        self.channel = SimpleNamespace(remote=self._remote)

    def _remote(self, live: bool, avatars: tuple[str, ...], fewer_than: int | None) -> Any:
        self.asked += 1
        self.avatars.append(avatars)
        if self.fails is not None:
            return self.fails()
        self.responses.append(Response(min(self.places, key=lambda place: place.held).calls.hold(live)))
        return self.responses[-1]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    context = SimpleNamespace(get_node_id=lambda: "here")
    monkeypatch.setattr(renderer_channel, "ray", SimpleNamespace(get_runtime_context=lambda: context))
    monkeypatch.setattr(renderer_channel, "FIRST_LOOK_S", 0.1)
    monkeypatch.setattr(renderer_channel, "LATER_LOOK_S", 0.2)
    monkeypatch.setattr(renderer_channel, "AGAIN_S", 0.05)
    monkeypatch.setattr(channel_calls, "TOLD_S", 0.01)


@pytest.fixture
def places() -> Iterator[list[Place]]:
    made = [Place(), Place(), Place("elsewhere")]
    yield made
    for place in made:
        place.server.close()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():
            await asyncio.sleep(0.01)


async def workers_of(handle: Handle, count: int) -> list[RendererChannel]:
    workers = [RendererChannel(handle) for _ in range(count)]  # type: ignore[arg-type]
    await until(lambda: all([worker.get() for worker in workers]))
    return workers


async def end(workers: list[RendererChannel]) -> None:
    for worker in workers:
        if worker._keeping is not None:
            worker._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await worker._keeping


def test_a_renderer_that_comes_later_gets_its_share_and_then_nobody_moves(places: list[Place]) -> None:
    async def scenario() -> None:
        first, second, _ = places
        handle = Handle([first])
        workers = await workers_of(handle, 7)
        assert first.held == 7
        handle.places = [first, second]
        for _ in range(3):  # the last may have moved by what was so a moment before
            await until(lambda: first.held + second.held == 7 and abs(first.held - second.held) == 1)
            channels, asked = [worker.get() for worker in workers], handle.asked
            await until(lambda asked=asked: handle.asked >= asked + 10)
            if settled := [worker.get() for worker in workers] == channels:
                break
        assert settled, "one more or less is no reason to move"
        assert len(first.server.connections) + len(second.server.connections) == 7
        await end(workers)

    asyncio.run(scenario())


def test_one_renderer_or_one_elsewhere_is_no_reason_to_move(places: list[Place]) -> None:
    async def scenario() -> None:
        first, _, elsewhere = places
        handle = Handle([first])
        workers = await workers_of(handle, 3)
        channels = [worker.get() for worker in workers]
        for choice in ([first], [first, elsewhere]):
            handle.places = choice
            asked = handle.asked
            await until(lambda asked=asked: handle.asked >= asked + 6)
            await until(lambda: first.held == 3 and elsewhere.held == 0)
        assert [worker.get() for worker in workers] == channels
        await end(workers)

    asyncio.run(scenario())


def no_replica() -> None:
    raise RayError("no replica")


@pytest.mark.parametrize("failure", [no_replica, Failing, Cancelled])
def test_a_look_that_fails_costs_nothing(places: list[Place], failure: Any) -> None:
    async def scenario() -> None:
        handle = Handle(places[:1])
        workers = await workers_of(handle, 2)
        channels = [worker.get() for worker in workers]
        handle.fails = failure
        asked = handle.asked
        await until(lambda: handle.asked >= asked + 4)
        assert [worker.get() for worker in workers] == channels
        await end(workers)

    asyncio.run(scenario())


@pytest.mark.parametrize("failure", [no_replica, Failing, Cancelled])
def test_a_first_call_that_fails_is_made_again(places: list[Place], failure: Any) -> None:
    async def scenario() -> None:
        handle = Handle(places[:1])
        handle.fails = failure
        worker = RendererChannel(handle)  # type: ignore[arg-type]
        await until(lambda: worker.get() is not None or handle.asked >= 3)
        assert worker.get() is None
        handle.fails = None
        await until(lambda: worker.get() is not None)
        await end([worker])

    asyncio.run(scenario())


def test_a_lost_renderer_is_replaced(places: list[Place]) -> None:
    async def scenario() -> None:
        first, second, _ = places
        handle = Handle([first])
        workers = await workers_of(handle, 2)
        handle.places = [second]
        first.server.close()
        await until(lambda: all([worker.get() for worker in workers]) and second.held == 2)
        await end(workers)

    asyncio.run(scenario())


def test_a_renderer_that_has_no_channel_to_give_gets_no_worker(places: list[Place]) -> None:
    async def scenario() -> None:
        first, second, _ = places
        handle = Handle([first])
        workers = await workers_of(handle, 4)
        channels = [worker.get() for worker in workers]
        second.full()
        handle.places = [first, second]
        asked = handle.asked
        await until(lambda: handle.asked >= asked + 12)
        assert [worker.get() for worker in workers] == channels
        await end(workers)

    asyncio.run(scenario())


def test_a_call_that_serve_ends_is_made_again(places: list[Place]) -> None:
    async def scenario() -> None:
        first, *_ = places
        handle = Handle([first])
        (worker,) = await workers_of(handle, 1)
        handle.responses[0].end()
        await until(lambda: first.held == 0)
        await until(lambda: worker.get() is not None and first.calls.live == 1 == len(first.server.connections))
        await end([worker])

    asyncio.run(scenario())


def test_channels_for_whole_sounds_neither_count_nor_move(places: list[Place]) -> None:
    async def scenario() -> None:
        first, second, _ = places
        handle = Handle([second])
        offline = [RendererChannel(handle, live=False) for _ in range(4)]  # type: ignore[arg-type]
        await until(lambda: all([worker.get() for worker in offline]))
        assert second.held == 4 and second.calls.live == 0
        handle.places = [first]
        live = [RendererChannel(handle, avatars=lambda: ["ada"]) for _ in range(4)]  # type: ignore[arg-type]
        await until(lambda: all([worker.get() for worker in live]))
        handle.places = [second]
        await until(lambda: second.calls.live >= 2 and first.calls.live + second.calls.live == 4)
        assert ("ada",) in handle.avatars and second.held - second.calls.live == 4
        await end([*offline, *live])

    asyncio.run(scenario())


def test_what_the_old_renderer_draws_is_waited_for(places: list[Place], monkeypatch: pytest.MonkeyPatch) -> None:
    done = asyncio.Event()
    closed_early: list[bool] = []

    class Drawing(FrameChannel):
        @property
        def drawing(self) -> bool:
            return not done.is_set()

        def close(self) -> None:
            closed_early.append(not done.is_set())
            super().close()

    monkeypatch.setattr(renderer_channel, "FrameChannel", Drawing)
    monkeypatch.setattr(renderer_channel, "LEAVING_S", PATIENCE_S)

    async def scenario() -> None:
        first, second, _ = places
        handle = Handle([first])
        workers = await workers_of(handle, 2)
        old = [worker.get() for worker in workers]
        handle.places = [first, second]
        await until(lambda: second.server.connections)
        await until(lambda: sum(worker.get() not in old for worker in workers) == 1)
        assert not closed_early and len(first.server.connections) == 2, "drawn on by the one, drawn anew by the other"
        done.set()
        await until(lambda: len(first.server.connections) == 1 == first.held)
        assert closed_early == [False]
        await end(workers)

    asyncio.run(scenario())
