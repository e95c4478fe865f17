"""A client session with the time passed in and a transport that is a list: no sockets, no sleeping."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import av
import numpy as np
import pytest
from support.api_server import tone

from being.avatar.folder import Avatar
from being.inference.frames import FrameRecord
from being.live.requests import AudioContextRange, AvatarFacts, OutputFormat
from being.live.scheduler import Delivery, Picture, Sound
from being.live.session import Limits, Session
from being.server.backgrounds import Backgrounds
from being.server.client_session import ClientSession
from being.server.client_stream import ClientStream
from being.server.encoding_pool import EncodingPool
from being.server.limits import ServingLimits
from being.server.liveness import Gone, Superseded
from being.server.media_pump import AT_ONCE
from being.server.metrics import PrometheusMeter
from being.server.problems import Problem
from being.server.schemas import Configure, LiveFormat
from being.server.transport import Acknowledged


class Memory:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []
        self.pieces: list[bytes] = []

    def open(self, format: LiveFormat, width: int, height: int) -> ClientStream:
        return ClientStream(format, width, height)

    async def send(self, piece: bytes) -> None:
        self.pieces.append(piece)

    async def send_event(self, event: Mapping[str, Any]) -> None:
        self.events.append(event)
        if event["type"] == "ready":  # a new stream
            self.pieces.clear()

    def of(self, type: str) -> list[Mapping[str, Any]]:
        return [event for event in self.events if event["type"] == type]


class Scene:
    """One client session on a clock that stands still until it is moved."""

    def __init__(self, avatar: Avatar, pool: ThreadPoolExecutor, **limits: float) -> None:
        self.now = 0.0
        facts = AvatarFacts("tiny", 64, 48, AudioContextRange(8960, 1280), avatar.motion)
        self.session = Session("s", facts, OutputFormat(64, 48), limits=Limits(onset_s=0, buffered_s=3.0))
        serving = ServingLimits(**limits)  # type: ignore[arg-type]
        self.client = ClientSession(
            self.session,
            "mp4",
            16_000,
            [],
            Backgrounds(serving.side),
            serving,
            PrometheusMeter(),
            EncodingPool(pool),
            lambda: self.now,
        )

    def tick(self) -> None:
        """What the frame loop does in 40 ms."""
        taken = self.session.take(1, self.now)
        index, size = taken.request.first, (self.session.output.height, self.session.output.width, 3)
        self.client.push(Sound("s", index, taken.sound), self.now)
        record = FrameRecord(index, 0, np.full(size, 90, np.uint8), None, None, None, np.eye(3, 4, dtype=np.float32))
        self.client.push(Picture("s", index, record), self.now)
        self.now += 0.04


async def settle(check: Callable[[], object]) -> None:
    """Let the loop run until something is so; encoding happens in another thread."""
    async with asyncio.timeout(60):
        while not check():
            await asyncio.sleep(0)


@pytest.fixture
def play(tiny_avatar: Avatar) -> Any:
    """play(scenario, **limits): runs `scenario(scene, transport, task)` with the session being served."""

    def run(scenario: Any, **limits: float) -> Memory:
        transport = Memory()

        async def whole() -> None:
            with ThreadPoolExecutor(1) as pool:
                scene = Scene(tiny_avatar, pool, **limits)
                task = asyncio.create_task(scene.client.serve(transport))
                await settle(lambda: transport.of("ready"))
                await scenario(scene, transport, task)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert scene.client.connected is False

        asyncio.run(whole())
        return transport

    return run


async def ticks(scene: Scene, transport: Memory, count: int) -> None:
    for _ in range(count):
        before = len(transport.pieces)
        scene.tick()
        await settle(lambda before=before: len(transport.pieces) > before)
        scene.client.feedback(Acknowledged(sum(map(len, transport.pieces))))


def test_frames_become_a_stream(play: Any) -> None:
    async def scenario(scene: Scene, transport: Memory, task: asyncio.Task[None]) -> None:
        await ticks(scene, transport, 30)
        assert scene.client.info().state == "live" and scene.client.info().fps == 25

    transport = play(scenario)
    assert transport.of("started") == [{"type": "started", "frame": 0}]
    assert len(transport.of("stats")) == 1, "once a second"
    with av.open(io.BytesIO(b"".join(transport.pieces))) as film:
        assert [round(frame.time * 25) for frame in film.decode(video=0)] == list(range(30))


def test_speech_is_told_and_can_be_interrupted(play: Any) -> None:
    async def scenario(scene: Scene, transport: Memory, task: asyncio.Task[None]) -> None:
        await scene.client.push_audio(tone(1.0))
        await ticks(scene, transport, 5)
        assert [event["frame"] for event in transport.of("speaking")] == [0]
        scene.client.interrupt()
        scene.tick()
        await settle(lambda: transport.of("interrupted"))
        (cut,) = transport.of("interrupted")
        assert cut["generation"] == 1 and scene.client.info().buffered_s < 0.04

    play(scenario)


def test_sound_without_room_is_refused_once(play: Any) -> None:
    async def scenario(scene: Scene, transport: Memory, task: asyncio.Task[None]) -> None:
        for _ in range(3):
            await scene.client.push_audio(tone(2.0))
        await settle(lambda: transport.of("error"))
        await ticks(scene, transport, 1)

    (error,) = play(scenario).of("error")
    assert error["fatal"] is False and error["problem"]["status"] == 413


def test_another_size_is_another_stream(play: Any) -> None:
    async def scenario(scene: Scene, transport: Memory, task: asyncio.Task[None]) -> None:
        await ticks(scene, transport, 2)
        with pytest.raises(Problem, match="larger"):
            scene.client.configure(Configure(type="configure", width=2048))
        with pytest.raises(Problem, match="not known"):
            scene.client.configure(Configure(type="configure", width=96, emotion={"happy": 1.0}))
        scene.client.configure(Configure(type="configure", width=96, height=80))
        await settle(lambda: len(transport.of("ready")) == 2)
        await ticks(scene, transport, 2)
        assert transport.of("ready")[1]["width"] == 96

    transport = play(scenario)
    with av.open(io.BytesIO(b"".join(transport.pieces))) as film:
        assert {(frame.width, frame.height) for frame in film.decode(video=0)} == {(96, 80)}


def test_a_silent_client_is_let_go(play: Any) -> None:
    async def scenario(scene: Scene, transport: Memory, task: asyncio.Task[None]) -> None:
        scene.now = 5.1
        scene.tick()
        with pytest.raises(Gone, match="5 s"):
            await task

    play(scenario, gone_s=5.0)


def test_no_more_than_a_window_is_sent(play: Any) -> None:
    async def scenario(scene: Scene, transport: Memory, task: asyncio.Task[None]) -> None:
        for _ in range(40):
            scene.tick()
            scene.client.refuse(Problem(400, "still here"))
            errors = len(transport.of("error"))
            await settle(lambda errors=errors: len(transport.of("error")) > errors)
        sent = sum(map(len, transport.pieces))
        assert 2000 <= sent < 5000, "the window, and the piece that overstepped it"
        scene.client.feedback(Acknowledged(sent))
        await settle(lambda: sum(map(len, transport.pieces)) > sent)

    play(scenario, window_bytes=2000)


def test_a_later_connection_takes_over(play: Any) -> None:
    async def scenario(scene: Scene, transport: Memory, task: asyncio.Task[None]) -> None:
        second = Memory()
        later = asyncio.create_task(scene.client.serve(second))
        with pytest.raises(Superseded):
            await task
        await settle(lambda: second.of("ready"))
        assert scene.client.connected and second.of("ready")[0]["token"] == transport.of("ready")[0]["token"]
        later.cancel()
        await asyncio.gather(later, return_exceptions=True)

    play(scenario)


class Held(Memory):
    """A stream whose encoder waits at a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.inside = threading.Event(), threading.Event()

    def open(self, format: LiveFormat, width: int, height: int) -> ClientStream:
        stream = super().open(format, width, height)
        deliver = stream.deliver

        def held(batch: Sequence[Delivery]) -> None:
            self.inside.set()
            assert self.gate.wait(10)
            deliver(batch)

        stream.deliver = held  # type: ignore[method-assign]
        return stream


def test_a_new_connection_gets_the_head_of_its_own_stream(tiny_avatar: Avatar) -> None:
    """The one before is still encoding when the new one opens its stream."""

    async def scenario() -> None:
        with ThreadPoolExecutor(4) as pool:
            scene = Scene(tiny_avatar, pool)
            first, second = Held(), Held()
            one = asyncio.create_task(scene.client.serve(first))
            await settle(lambda: first.of("ready"))
            scene.tick()
            await settle(first.inside.is_set)
            scene.client.connect()
            two = asyncio.create_task(scene.client.serve(second))
            scene.tick()
            await settle(lambda: second.of("ready"))
            await settle(second.inside.is_set)
            first.gate.set()
            (outcome,) = await asyncio.gather(one, return_exceptions=True)
            assert isinstance(outcome, Superseded)
            second.gate.set()
            scene.tick()
            await settle(lambda: second.pieces)
            assert second.pieces[0][4:8] == b"ftyp"
            two.cancel()
            await asyncio.gather(two, return_exceptions=True)

    asyncio.run(scenario())


def test_a_backlog_is_encoded_a_little_at_a_time(play: Any) -> None:
    """Sessions of one tick share a thread: none may keep it for long."""
    given: list[int] = []

    async def scenario(scene: Scene, transport: Memory, task: asyncio.Task[None]) -> None:
        stream = scene.client._pump.stream
        assert isinstance(stream, ClientStream)
        deliver = stream.deliver

        def counted(batch: Sequence[Delivery]) -> None:
            given.append(len(batch))
            deliver(batch)

        stream.deliver = counted  # type: ignore[method-assign]
        for _ in range(30):
            scene.tick()
        await settle(lambda: scene.client.settled)

    play(scenario)
    assert sum(given) == 60 and max(given) == AT_ONCE
