"""One live client: its session, what it says and asks for, and the stream that goes back to it."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np

from being.constants import FPS
from being.errors import InputError
from being.inference.frames import PixelFormat
from being.live.emotion import wish
from being.live.requests import OutputFormat
from being.live.scheduler import Delivery, Picture, Repeat, Sound
from being.live.session import Session
from being.media.client_stream import Stream, frames_of, open_stream
from being.server.admission import Load
from being.server.backgrounds import Backgrounds
from being.server.limits import ServingLimits
from being.server.metrics import Meter
from being.server.pcm_input import PcmInput
from being.server.problems import Problem
from being.server.schemas import Configure, Latency, LiveFormat, SessionInfo

LATENCIES = 250  # frames remembered for the percentiles
PENDING = 20 * FPS  # deliveries that may wait for the encoder: a client slower than that is gone
CHECK_S = 1.0  # how often a silent client is looked at
LARGE_SOUND = 64 << 10  # bytes of PCM worth a worker thread


class Client(Protocol):
    """The far end; a WebSocket is one."""

    async def send_text(self, data: str) -> None: ...

    async def send_bytes(self, data: bytes) -> None: ...


class Gone(Exception):
    """The client does not answer any more."""


class Superseded(Exception):
    """The same client has come back over another connection."""


class ClientSession:
    """State of one client between its connections, and the pump that serves it while it is connected.

    Parameters
    ----------
    session : Session
    format : LiveFormat
        What it wants to be sent.
    emotions : sequence of str
        States the avatar knows.
    backgrounds, limits, meter, pool, now
        The server's: pictures, bounds, measurements, encoding threads, steady clock.
    """

    def __init__(
        self,
        session: Session,
        format: LiveFormat,
        sample_rate: int,
        emotions: Sequence[str],
        backgrounds: Backgrounds,
        limits: ServingLimits,
        meter: Meter,
        pool: Executor,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.session = session
        self.format: LiveFormat = format
        self.token = secrets.token_urlsafe(16)
        self.started = datetime.now(UTC)
        self.connected = False
        self.intake = PcmInput(sample_rate)
        self._emotions = emotions
        self._backgrounds = backgrounds
        self._limits = limits
        self._meter = meter
        self._pool = pool
        self._now = now
        self._awake = asyncio.Event()
        self._stream: Stream | None = None
        self._restart_stream = True
        self._cut_stream = False
        self._pending: deque[Delivery] = deque()
        self._events: deque[dict[str, Any]] = deque()
        self._due: dict[int, float] = {}  # frame -> when its tick began
        self._latencies: deque[float] = deque(maxlen=LATENCIES)
        self._shown: deque[float] = deque(maxlen=4 * FPS)  # when distinct frames were sent
        self._repeats = 0
        self._dropped_before = 0
        self._dropped_counted = 0
        self._talking = False
        self._overflowing = False
        self._sent = 0
        self._acknowledged = 0
        self._acknowledged_at = 0.0
        self._heard_at = 0.0
        self._stats_at = 0.0
        self._queue_overrun = False
        self._connection = 0  # counts them, so that an older one notices it was superseded

    @property
    def load(self) -> Load:
        stage = self.session.stage
        return Load(self.session.avatar.id, stage.width, stage.height)

    # What the conductor brings.

    def push(self, delivery: Delivery, now: float) -> None:
        if not self.connected:
            return
        if isinstance(delivery, Sound):
            for frame in frames_of(delivery):
                self._due[frame] = now
            self._note_talking(delivery.index)
        # Sound alone waits for the picture that comes a moment later, or for the next tick: half as many messages.
        alone = isinstance(delivery, Sound) and not self._pending
        self._pending.append(delivery)
        self._queue_overrun = len(self._pending) > PENDING
        if not alone:
            self._awake.set()

    # What the client says.

    async def hear(self, data: bytes) -> None:
        """PCM has arrived; what the session has no room for is refused with an event, once until it has again."""
        self._heard_at = self._now()
        if len(data) > LARGE_SOUND:
            face, ears = await asyncio.to_thread(self.intake.push, data)
        else:
            face, ears = self.intake.push(data)
        self._speak(face, ears)

    def end(self) -> None:
        """The utterance is complete."""
        self._heard_at = self._now()
        self._speak(*self.intake.flush())
        self.session.end_utterance()

    def interrupt(self) -> None:
        """Stop talking now."""
        self._heard_at = self._now()
        self.intake.drop()
        frame = self.session.interrupt()
        self._meter.add("being_interrupts")
        self._cut_stream = True
        self.tell("interrupted", frame=frame, generation=self.session.generation)

    def received(self, count: int) -> None:
        """The client has this many bytes of the stream."""
        self._heard_at = self._acknowledged_at = self._now()
        self._acknowledged = max(self._acknowledged, min(count, self._sent))
        self._awake.set()

    def configure(self, wanted: Configure) -> None:
        """Change what was named.

        Raises
        ------
        Problem
            A value does not fit the avatar or the server; nothing was changed.
        """
        self._heard_at = self._now()
        stage = self.session.stage
        width, height = wanted.width or stage.width, wanted.height or stage.height
        format = wanted.format or self.format
        check_size(width, height, self._limits)
        background = stage.background
        if wanted.background is not None:
            background = self._backgrounds.live(wanted.background)
        emotion = None
        if wanted.emotion is not None:
            try:
                emotion = wish(self._emotions, wanted.emotion)
            except InputError as error:
                raise Problem(422, error.problem, error.remedy) from error
        if wanted.sample_rate is not None and wanted.sample_rate != self.intake.rate:
            self._speak(*self.intake.flush())
            self.intake = PcmInput(wanted.sample_rate)
        if (width, height, format) != (stage.width, stage.height, self.format):
            self._restart_stream = True
        self.format = format
        if emotion is not None:
            self.session.feelings.ask(emotion)
        pixel_format = PixelFormat.YUV420 if format == "mp4" else PixelFormat.RGB
        self.session.stage = OutputFormat(width, height, background, pixel_format)
        self._awake.set()

    def tell(self, type: str, **content: Any) -> None:
        """Send an event."""
        self._events.append({"type": type, **content})
        self._awake.set()

    def refuse(self, problem: Problem) -> None:
        """Tell the client of something it did wrong, and go on."""
        self._heard_at = self._now()
        self.tell("error", fatal=False, problem=problem.body())

    # The connection.

    async def serve(self, client: Client) -> None:
        """Send until cancelled.

        Raises
        ------
        Gone
            Nothing was heard of the client for too long, or it acknowledges nothing.
        Superseded
            `serve` was called again, with another connection of the same client.
        """
        self._connection += 1
        connection = self._connection
        self._heard_at = self._acknowledged_at = self._stats_at = self._now()
        self._restart_stream = True
        self._queue_overrun = False
        self._pending.clear()
        self._due.clear()
        self.connected = True
        self._awake.set()
        try:
            while True:
                self._awake.clear()
                if self._connection != connection:
                    raise Superseded
                await self._send_events(client)
                if self._restart_stream:
                    await self._open_stream(client)
                await self._encode()
                await self._send_stream(client)
                self._send_stats()
                self._check_alive()
                if not self._awake.is_set():
                    await self._wait()
        finally:
            if self._connection == connection:
                self.connected = False
                self._events.clear()
                self._drop_stream()

    async def _wait(self) -> None:
        alarm = asyncio.get_running_loop().call_later(CHECK_S, self._awake.set)
        try:
            await self._awake.wait()
        finally:
            alarm.cancel()

    async def _send_events(self, client: Client) -> None:
        while self._events:
            await client.send_text(json.dumps(self._events.popleft()))

    async def _open_stream(self, client: Client) -> None:
        self._restart_stream = False
        self._drop_stream()
        stage = self.session.stage
        loop = asyncio.get_running_loop()
        stream = await loop.run_in_executor(self._pool, open_stream, self.format, stage.width, stage.height)
        self._sent = self._acknowledged = 0
        await client.send_text(
            json.dumps(
                {
                    "type": "ready",
                    "session": self.session.id,
                    "token": self.token,
                    "avatar": self.session.avatar.id,
                    "media_type": stream.media_type,
                    "format": self.format,
                    "width": stage.width,
                    "height": stage.height,
                    "fps": FPS,
                    "sample_rate": self.intake.rate,
                    "look_ahead_ms": round(1000 * self.session.avatar.reach.look_ahead_s, 1),
                    "window_bytes": self._limits.window_bytes,
                    "generation": self.session.generation,
                    "emotions": list(self._emotions),
                }
            )
        )
        self._stream = stream

    async def _encode(self) -> None:
        stream = self._stream
        if stream is None or not self._pending:
            return
        batch = list(self._pending)
        self._pending.clear()
        before = stream.first
        started = self._now()
        size = (self.session.stage.width, self.session.stage.height)
        await asyncio.get_running_loop().run_in_executor(self._pool, _encode_all, stream, batch, size)
        now = self._now()
        self._meter.observe("being_stage_seconds", now - started, stage="encode")
        if before is None and stream.first is not None:
            self.tell("started", frame=stream.first)
        for delivery in batch:
            if isinstance(delivery, Picture):
                self._shown.append(now)
                self._meter.add("being_frames", kind="distinct")
                if (due := self._due.pop(delivery.index, None)) is not None:
                    self._latencies.append(now - due)
                    self._meter.observe("being_latency_seconds", now - due)
            elif isinstance(delivery, Repeat):
                self._repeats += 1
                self._due.pop(delivery.index, None)
                self._meter.add("being_frames", kind="repeated")

    async def _send_stream(self, client: Client) -> None:
        stream = self._stream
        if stream is None:
            return
        if self._cut_stream:  # here, where no worker thread writes into it
            self._cut_stream = False
            stream.cut()
        await self._send_events(client)
        while self._sent - self._acknowledged < self._limits.window_bytes and (piece := stream.take()) is not None:
            self._sent += len(piece)
            await client.send_bytes(piece)

    def _check_alive(self) -> None:
        now, limit = self._now(), self._limits.gone_s
        if now - self._heard_at > limit:
            raise Gone(f"nothing was heard of the client for {limit:g} s; it should send 'received'")
        full = self._sent - self._acknowledged >= self._limits.window_bytes
        if full and now - self._acknowledged_at > limit:
            raise Gone(f"the client acknowledged nothing for {limit:g} s; it should send 'received'")
        if self._queue_overrun:
            raise Gone("the client takes nothing any more")

    def _send_stats(self) -> None:
        now = self._now()
        if now - self._stats_at < 1.0:
            return
        self._stats_at = now
        info = self.info()
        new = info.dropped - self._dropped_counted
        if new > 0:
            self._meter.add("being_dropped_pieces", float(new))
            self._dropped_counted = info.dropped
        self.tell(
            "stats",
            fps=info.fps,
            frame=info.frame,
            repeats=info.repeats,
            dropped=info.dropped,
            buffered_s=info.buffered_s,
            latency_ms=info.latency_ms.model_dump() if info.latency_ms else None,
            look_ahead_ms=round(1000 * self.session.avatar.reach.look_ahead_s, 1),
        )

    def _drop_stream(self) -> None:
        if self._stream is not None:
            self._dropped_before += self._stream.dropped
            self._stream.close()
            self._stream = None

    def info(self) -> SessionInfo:
        stage = self.session.stage
        now = self._now()
        return SessionInfo(
            id=self.session.id,
            avatar=self.session.avatar.id,
            state="live" if self.connected else "waiting",
            started=self.started,
            width=stage.width,
            height=stage.height,
            format=self.format,
            frame=self.session.next_frame,
            generation=self.session.generation,
            talking=self.session.talking,
            buffered_s=round(self.session.waiting_s, 3),
            fps=float(sum(now - 1.0 < shown for shown in self._shown)),
            repeats=self._repeats,
            dropped=self._dropped_before + (self._stream.dropped if self._stream else 0),
            latency_ms=self._latency(),
        )

    def _latency(self) -> Latency | None:
        if not self._latencies:
            return None
        p50, p95, p99 = (round(1000 * float(value), 1) for value in np.percentile(self._latencies, (50, 95, 99)))
        return Latency(p50=p50, p95=p95, p99=p99)

    def _speak(self, face: np.ndarray, ears: np.ndarray) -> None:
        if not len(face):
            return
        try:
            self.session.hear(face, ears, self._now())
            self._overflowing = False
        except InputError as error:
            if not self._overflowing:
                self._overflowing = True
                self.refuse(Problem.of(error, 413))

    def _note_talking(self, frame: int) -> None:
        talking = self.session.talking
        if talking != self._talking:
            self._talking = talking
            self.tell("speaking" if talking else "idle", frame=frame)


def _encode_all(stream: Stream, batch: list[Delivery], size: tuple[int, int]) -> None:
    for delivery in batch:
        if isinstance(delivery, Picture) and _size_of(delivery) != size:
            continue  # drawn before the size was changed
        stream.deliver(delivery)


def _size_of(delivery: Picture) -> tuple[int, int]:
    """Width and height of the picture, planes or RGB."""
    image = delivery.record.image
    assert image is not None
    height, width = image.shape[:2]
    return (width, height) if image.ndim == 3 else (width, height * 2 // 3)


def check_size(width: int, height: int, limits: ServingLimits) -> None:
    """Refuse a picture larger than the server draws."""
    if max(width, height) > limits.side:
        raise Problem(422, f"{width}x{height} is larger than this server draws", f"At most {limits.side} a side")
