"""A worker and a renderer over a channel, in two threads or two processes: the same frames, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from support.scene import speech

from being.graph.channel.arena import IDLE_S, Arena
from being.graph.channel.client import LOAD_S, FrameChannel
from being.graph.channel.messages import ChannelLost
from being.graph.channel.server import ChannelServer
from being.graph.local import InProcessGraph
from being.graph.rendered_batch import Answer, RenderedBatch, RendererLoad
from being.graph.tick import encode, prepare_tick
from being.inference.compositing import Transparent
from being.inference.frames import FrameRecord, PixelFormat
from being.live.requests import AudioContexts, FrameRequest, OutputFormat
from being.live.session import Limits, Session

LOAD = RendererLoad(busy=0.25, waiting=3, batch=2.0)
PATIENCE_S = 60.0


@dataclass
class Waiting:
    over: bool = False

    def cancel(self) -> None:
        self.over = True


class Renderer:
    """Draws at once, or what it is asked to hold when it is let go."""

    def __init__(self, graph: InProcessGraph) -> None:
        self._graph = graph
        self.held: list[tuple[Waiting, list[FrameRequest], Answer]] = []
        self.samples: list[int] = []  # of each tick's sound
        self.hold = False
        self.arrived = threading.Event()

    def __call__(
        self, requests: list[FrameRequest], live: bool, answer: Answer, contexts: AudioContexts | None
    ) -> Waiting:
        order = Waiting()
        self.samples.append(sum(len(request.pcm) for request in requests))
        if self.hold:
            self.held.append((order, requests, answer))
            self.arrived.set()
        else:
            self.draw(requests, answer, contexts)
        return order

    def draw(self, requests: list[FrameRequest], answer: Answer, contexts: AudioContexts | None = None) -> None:
        if contexts is None:
            contexts = encode(requests, self._graph.engine.library, self._graph.encoder)
        prepared = prepare_tick(requests, contexts)
        answer(RenderedBatch(prepared.answer(self._graph.engine.render_frames(prepared.drives)), 0.5, LOAD))


@pytest.fixture
def renderer(graph: InProcessGraph) -> Renderer:
    return Renderer(graph)


@pytest.fixture
def server(renderer: Renderer) -> Iterator[ChannelServer]:
    server = ChannelServer(renderer, load=lambda: replace(LOAD, waiting=0))
    yield server
    server.close()


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def sessions_of(graph: InProcessGraph) -> list[Session]:
    """Different avatars, sizes and formats, all talking."""
    outputs = {
        "tiny": OutputFormat(64, 48, pixel_format=PixelFormat.YUV420),
        "other": OutputFormat(48, 64),
        "clear": OutputFormat(32, 32, Transparent()),
    }
    sessions = []
    for name, output in outputs.items():
        facts = await graph.prepare("other" if name == "other" else "tiny")
        session = Session(name, facts, output, limits=Limits(onset_s=0))
        pcm = speech(2.0, len(name))
        session.push_audio(pcm, np.repeat(pcm, 3)[:, None], 0.0)
        sessions.append(session)
    return sessions


def same(one: FrameRecord, other: FrameRecord) -> None:
    for name in ("index", "generation", "error", "avatar", "session", "pixel_format", "face_box"):
        assert getattr(one, name) == getattr(other, name)
    for name in ("image", "alpha", "depth", "head_pose"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)


@pytest.mark.parametrize("encoded_here", [False, True])
def test_frames_are_those_of_the_graph_bit_for_bit(
    graph: InProcessGraph, server: ChannelServer, renderer: Renderer, encoded_here: bool
) -> None:
    async def scenario() -> None:
        channel = FrameChannel(server.path)
        sessions = await sessions_of(graph)
        for count in (1, 1, 2, 4, 1):
            requests = [session.take(count, 0.0).request for session in sessions]
            requests.append(replace(requests[0], avatar="nobody", session="lost"))
            contexts = encode(requests, graph.engine.library, graph.encoder) if encoded_here else None
            records, seconds, load = await channel.draw(requests, contexts)
            assert (seconds, load) == (0.5, LOAD)
            assert (renderer.samples[-1] == 0) == encoded_here, "sound that was encoded stays where it is"
            expected = graph.draw(requests)
            for one, other in zip(records, expected, strict=True):
                same(one, other)
            assert records[-1].error is not None and "nobody" in records[-1].error
            assert records[0].image is not None and not records[0].image.flags.owndata
        channel.close()

    asyncio.run(scenario())


def test_places_come_back_as_frames_are_dropped(graph: InProcessGraph, server: ChannelServer) -> None:
    async def scenario() -> None:
        channel = FrameChannel(server.path)
        session = (await sessions_of(graph))[0]
        kept = []
        for _ in range(20):
            records, _, _ = await channel.draw([session.take(1, 0.0).request])
            kept = [*kept, *records][-3:]
        (connection,) = server.connections
        assert connection.arena.leased == 4, "three that are held, and one that was dropped since the last request"
        picture, before = kept[0].image, kept[0].image.copy()
        channel.close()
        await asyncio.to_thread(until, lambda: not server.connections)
        assert connection.arena.bytes == 0 and np.array_equal(picture, before), "the reader's own mapping stays"

    asyncio.run(scenario())


def test_a_pass_given_up_is_not_drawn(graph: InProcessGraph, server: ChannelServer, renderer: Renderer) -> None:
    async def scenario() -> None:
        channel = FrameChannel(server.path)
        session = (await sessions_of(graph))[0]
        renderer.hold = True
        given_up = asyncio.create_task(channel.draw([session.take(1, 0.0).request]))
        await asyncio.to_thread(renderer.arrived.wait, PATIENCE_S)
        order, requests, answer = renderer.held[0]
        given_up.cancel()
        await asyncio.to_thread(until, lambda: order.over)
        renderer.draw(requests, answer)  # too late to be stopped: its place is not lost
        renderer.hold = False
        for _ in range(3):
            await channel.draw([session.take(1, 0.0).request])
        assert server.connections[0].arena.leased <= 2, "the last frame and the one before, if that"
        channel.close()

    asyncio.run(scenario())


def test_memory_goes_back_when_a_worker_asks_for_nothing(graph: InProcessGraph, renderer: Renderer) -> None:
    late = 0.0
    server = ChannelServer(renderer, lambda: Arena(now=lambda: time.monotonic() + late), idle_s=0.05)

    async def scenario() -> None:
        nonlocal late
        channel = FrameChannel(server.path)
        session = (await sessions_of(graph))[0]
        await channel.draw([session.take(1, 0.0).request])
        (connection,) = server.connections
        await asyncio.to_thread(until, lambda: connection.arena.leased == 0)
        assert connection.arena.bytes > 0
        late = IDLE_S + 1
        await asyncio.to_thread(until, lambda: connection.arena.bytes == 0)
        await channel.draw([session.take(1, 0.0).request])
        assert connection.arena.bytes > 0, "and is taken again"
        channel.close()

    asyncio.run(scenario())
    server.close()


def test_a_failure_is_told_and_no_end(graph: InProcessGraph, server: ChannelServer, renderer: Renderer) -> None:
    async def scenario() -> None:
        channel = FrameChannel(server.path)
        session = (await sessions_of(graph))[0]
        renderer.hold = True
        failing = asyncio.create_task(channel.draw([session.take(1, 0.0).request]))
        await asyncio.to_thread(renderer.arrived.wait, PATIENCE_S)
        renderer.held[0][2](ValueError("no\nink"))
        with pytest.raises(RuntimeError, match="ValueError: no ink"):
            await failing
        renderer.hold = False
        assert (await channel.draw([session.take(1, 0.0).request]))[0][0].error is None
        channel.close()

    asyncio.run(scenario())


def test_a_renderer_that_goes_is_noticed(graph: InProcessGraph, server: ChannelServer, renderer: Renderer) -> None:
    async def scenario() -> None:
        channel = FrameChannel(server.path, "ticket")
        session = (await sessions_of(graph))[0]
        held, _, _ = await channel.draw([session.take(1, 0.0).request])
        renderer.hold = True
        waiting = asyncio.create_task(channel.draw([session.take(1, 0.0).request]))
        await asyncio.to_thread(renderer.arrived.wait, PATIENCE_S)
        server.close()
        with pytest.raises(ChannelLost):
            await waiting
        await channel.closed.wait()
        with pytest.raises(ChannelLost):
            await channel.draw([session.take(1, 0.0).request])
        with pytest.raises(ChannelLost, match="no renderer listens"):
            FrameChannel(server.path)
        assert held[0].image is not None and held[0].image.any()

    asyncio.run(scenario())


def test_tickets_end_with_their_connections(server: ChannelServer) -> None:
    ended: list[str] = []
    server.expect("a", lambda: ended.append("a"))
    server.expect("b", lambda: ended.append("b"))

    async def scenario() -> None:
        one, other = FrameChannel(server.path, "a"), FrameChannel(server.path, "stranger")
        await asyncio.to_thread(until, lambda: len(server.connections) == 2)
        one.close()
        other.close()
        await asyncio.to_thread(until, lambda: not server.connections)

    asyncio.run(scenario())
    assert ended == ["a"]


def test_what_is_no_message_closes_the_channel_and_no_more(graph: InProcessGraph, server: ChannelServer) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(server.path)
        stranger.sendall(b"\x05\0\0\0\0\0\0\0 GET /")
        stranger.settimeout(PATIENCE_S)
        assert stranger.recv(10) == b""

    async def scenario() -> None:
        channel = FrameChannel(server.path)
        session = (await sessions_of(graph))[0]
        assert (await channel.draw([session.take(1, 0.0).request]))[0][0].image is not None
        channel.close()

    asyncio.run(scenario())


def test_a_channel_that_cannot_be_followed_is_closed(graph: InProcessGraph, server: ChannelServer) -> None:
    async def scenario() -> None:
        channel = FrameChannel(server.path)
        session = (await sessions_of(graph))[0]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(channel._arena, "add", lambda slab, file: 1 / 0)  # as where no memory can be mapped
            with pytest.raises(ChannelLost):
                await asyncio.wait_for(channel.draw([session.take(1, 0.0).request]), PATIENCE_S)
        assert not channel.alive and channel.closed.is_set()

    asyncio.run(scenario())


def test_the_socket_is_this_users_alone(server: ChannelServer) -> None:
    folder = Path(server.path).parent
    assert folder.stat().st_mode & 0o777 == 0o700
    server.close()
    assert not folder.exists()


@contextlib.contextmanager
def file_size(most: int) -> Iterator[None]:
    """The system has no more memory for shared files than that, as in a container."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("shortage", ["none at all", "some"])
def test_without_memory_frames_come_by_value(graph: InProcessGraph, renderer: Renderer, shortage: str) -> None:
    # 6 MB of frames a tick: more than a socket's buffer takes, and than one slab.
    server = ChannelServer(renderer, lambda: Arena(most_bytes=8 << 20))

    async def scenario() -> None:
        channel = FrameChannel(server.path)
        facts = await graph.prepare("tiny")
        session = Session("s", facts, OutputFormat(512, 512, Transparent()), limits=Limits(onset_s=0))
        held = []
        for _ in range(3):
            request = session.take(6, 0.0).request
            records, _, _ = await channel.draw([request])
            held += records
            for one, other in zip(records, graph.draw([request]), strict=True):
                same(one, other)
        (connection,) = server.connections
        assert connection.arena.leased == (0 if shortage == "none at all" else 8)
        assert connection.arena.bytes == (0 if shortage == "none at all" else 8 << 20)
        channel.close()

    with file_size(1 << 20) if shortage == "none at all" else contextlib.nullcontext():
        asyncio.run(scenario())
    server.close()


WORKER = """
import asyncio, pickle, sys, time
from being.graph.channel.client import LOAD_S, FrameChannel

async def hold():
    channel = FrameChannel(sys.argv[1], "doomed")
    requests = pickle.load(open(sys.argv[2], "rb"))
    records, _, _ = await channel.draw(requests)
    print(len(records), "torch" in sys.modules, flush=True)
    time.sleep(600)

asyncio.run(hold())
"""


def test_what_a_killed_worker_held_is_taken_back(graph: InProcessGraph, server: ChannelServer, tmp_path: Path) -> None:
    async def requests() -> list[FrameRequest]:
        return [session.take(2, 0.0).request for session in await sessions_of(graph)]

    asked = tmp_path / "requests"
    asked.write_bytes(pickle.dumps(asyncio.run(requests())))
    ended = threading.Event()
    server.expect("doomed", ended.set)
    with subprocess.Popen(
        [sys.executable, "-c", WORKER, server.path, str(asked)], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "6 False\n", "and who only carries frames has no PyTorch"
        (connection,) = server.connections
        assert connection.arena.leased == 6
        worker.send_signal(signal.SIGKILL)
        assert ended.wait(PATIENCE_S)
    assert connection.arena.leased == connection.arena.bytes == 0 and not server.connections


def test_a_renderer_tells_how_busy_it_is_before_it_is_asked(graph: InProcessGraph, server: ChannelServer) -> None:
    async def scenario() -> None:
        channel = FrameChannel(server.path)
        assert channel.load() is None
        async with asyncio.timeout(PATIENCE_S):
            while channel.load() is None:
                await asyncio.sleep(0.01)
        assert channel.load() == replace(LOAD, waiting=0)
        session = (await sessions_of(graph))[0]
        await channel.draw([session.take(1, 0.0).request])
        assert channel.load() == LOAD
        channel._load_at -= LOAD_S
        assert channel.load() == replace(LOAD, busy=None), "that was long ago"
        channel.close()

    asyncio.run(scenario())
