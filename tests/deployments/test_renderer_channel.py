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


class Handle:
    """Serve: a call goes to the replica with the fewest."""

    def __init__(self, places: list[Place]) -> None:
        self.places = places
        self.asked = 0
        self.fails = False
        self.channel = SimpleNamespace(remote=self._remote)

    def _remote(self) -> Response:
        self.asked += 1
        if self.fails:
            raise RayError("no replica")
        return Response(min(self.places, key=lambda place: place.held).calls.hold())


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
        await until(lambda: first.held + second.held == 7 and abs(first.held - second.held) == 1)
        await until(lambda: all([worker.get() for worker in workers]))
        channels, asked = [worker.get() for worker in workers], handle.asked
        await until(lambda: handle.asked >= asked + 10)
        assert [worker.get() for worker in workers] == channels, "one more or less is no reason to move"
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


def test_a_look_that_fails_costs_nothing_and_a_lost_renderer_is_replaced(places: list[Place]) -> None:
    async def scenario() -> None:
        first, second, _ = places
        handle = Handle([first])
        workers = await workers_of(handle, 2)
        channels = [worker.get() for worker in workers]
        handle.fails = True
        asked = handle.asked
        await until(lambda: handle.asked >= asked + 4)
        assert [worker.get() for worker in workers] == channels
        handle.fails, handle.places = False, [second]
        first.server.close()
        await until(lambda: all([worker.get() for worker in workers]) and second.held == 2)
        await end(workers)

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
