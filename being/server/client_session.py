"""One live client: its session, what it says and asks for, and the stream that goes back to it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from being.constants import FPS
from being.live.scheduler import Delivery, Sound
from being.live.session import Session
from being.server.admission import Load
from being.server.alarmed_event import AlarmedEvent
from being.server.backgrounds import Backgrounds
from being.server.client_state import ClientState
from being.server.client_stream import frames_of
from being.server.encoding_pool import EncodingPool
from being.server.limits import ServingLimits
from being.server.liveness import Liveness, Superseded
from being.server.media_pump import MediaPump
from being.server.metrics import Meter
from being.server.problems import Problem
from being.server.schemas import Configure, LiveFormat, SessionInfo
from being.server.session_control import SessionControl
from being.server.session_stats import SessionStats
from being.server.speech_input import SpeechInput
from being.server.transport import Feedback, Transport

CHECK_S = 1.0  # how often a silent client is looked at


class ClientSession:
    """State of one client between its connections, and the loop that serves it while it is connected.

    Its ideas are parts of their own: input (PCM), control (events, configure), pump (encode, send), liveness, stats.

    Parameters
    ----------
    session : Session
    format : LiveFormat
        What it wants to be sent.
    sample_rate : int
        Hz of the PCM it sends.
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
        pool: EncodingPool,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.session = session
        self.token = secrets.token_urlsafe(16)
        self.started = datetime.now(UTC)
        self.connected = False
        self._limits = limits
        self._meter = meter
        self._now = now
        self._awake = AlarmedEvent(CHECK_S)
        self._input = SpeechInput(session, sample_rate)
        session.before_frames = self._settle_input
        self._control = SessionControl(session, format, emotions, backgrounds, limits, self._awake.set)
        self._pump = MediaPump(pool)
        self._liveness = Liveness(limits.gone_s, limits.window_bytes)
        self._stats = SessionStats(meter)
        self._ending: Exception | None = None
        self._coming: int | None = None  # number of a connection that `serve` has not begun to serve

    def state(self) -> ClientState | None:
        """What `restore` takes; None while sound of the client's is being converted: ask a moment later."""
        if self._input.busy:
            return None
        self._settle_input()
        return ClientState(
            session=self.session.state(self._now()),
            pcm=self._input.state(),
            token=self.token,
            started=self.started.timestamp(),
            format=self._control.format,
            taken_bytes=self._input.taken_bytes,
            repeats=self._stats.repeats,
            dropped=self._stats.dropped(self._pump.dropped),
            talking=self._control.talking,
        )

    def restore(self, state: ClientState) -> None:
        """Go on where another worker left off, with a session that was restored already."""
        self.token = state.token
        self.started = datetime.fromtimestamp(state.started, UTC)
        self._input.restore(state.pcm, state.taken_bytes)
        self._control.talking = state.talking
        self._stats.restore(state.repeats, state.dropped)

    @property
    def load(self) -> Load:
        """What it costs: an avatar at a size."""
        output = self.session.output
        return Load(self.session.avatar.id, output.width, output.height)

    # What the frame loop brings.

    def push(self, delivery: Delivery, now: float) -> None:
        """Take a delivery; it is sent if the client is connected."""
        if not self.connected:
            return
        if isinstance(delivery, Sound):
            self._stats.due(frames_of(delivery), now)
            self._control.note_talking(delivery.index)
        if self._pump.push(delivery):
            self._awake.set()

    # What the client says.

    async def push_audio(self, data: bytes) -> None:
        """PCM has arrived; what the session has no room for is refused with an event, once until it has again."""
        self._liveness.touch(self._now())
        self._refused(await self._input.take(data, self._now))

    def end(self) -> None:
        """The utterance is complete."""
        self._liveness.touch(self._now())
        self._refused(self._input.end(self._now()))

    def interrupt(self) -> None:
        """Stop talking now."""
        self._liveness.touch(self._now())
        self._input.drop()
        frame = self.session.interrupt()
        self._meter.add("being_interrupts")
        self._pump.cut()
        self._control.emit("interrupted", frame=frame, generation=self.session.generation)

    def feedback(self, feedback: Feedback) -> None:
        """The transport has heard how the stream arrives."""
        self._liveness.acknowledged(feedback.bytes, self._now())
        self._awake.set()

    def configure(self, wanted: Configure) -> None:
        """Change what was named.

        Raises
        ------
        Problem
            A value does not fit the avatar or the server; nothing was changed.
        """
        now = self._now()
        self._liveness.touch(now)
        if self._control.configure(wanted):
            self._pump.reopen = True
        if wanted.sample_rate is not None:
            self._refused(self._input.change_rate(wanted.sample_rate, now))
        self._awake.set()

    def refuse(self, problem: Problem) -> None:
        """Tell the client of something it did wrong, and go on."""
        self._liveness.touch(self._now())
        self._control.refuse(problem)

    def _settle_input(self) -> None:
        self._refused(self._input.settle())

    def _refused(self, problem: Problem | None) -> None:
        if problem is not None:
            self._control.refuse(problem)

    # The connection.

    def disconnect(self, reason: Exception) -> None:
        """Let `serve` end with this reason: Moved or Superseded."""
        self._ending = reason
        self._awake.set()

    @property
    def settled(self) -> bool:
        """Whether all that came from the client was taken in, and all that was drawn sent as far as its window goes."""
        return not self._input.busy and (not self.connected or self._pump.idle)

    def connect(self) -> None:
        """A connection is there, and `serve` will be called in a moment: what is drawn until then is sent as well."""
        now = self._now()
        self._coming = self._liveness.connect(now)
        self._pump.restart()
        self._stats.restart(now)
        self.connected = True
        self._awake.set()

    async def serve(self, transport: Transport) -> None:
        """Send until cancelled.

        Raises
        ------
        Gone
            Nothing was heard of the client for too long, or it acknowledges nothing.
        Superseded
            `serve` was called again, with another connection of the same client.
        Exception
            What `disconnect` was given.
        """
        if self._coming is None:
            self.connect()
        connection, self._coming = self._coming, None
        assert connection is not None
        try:
            while True:
                self._awake.clear()
                if self._liveness.superseded(connection):
                    raise Superseded
                if self._ending is not None:
                    await self._pump.finish(transport)
                    raise self._ending
                await self._round(transport, connection)
                if not self._awake.is_set():
                    await self._awake.wait_or_alarm()
        finally:
            if not self._liveness.superseded(connection):
                self.connected = False
                self._control.events.clear()
                self._close_stream()
                self._awake.cancel_alarm()
            self._awake.set()

    async def _round(self, transport: Transport, connection: int) -> None:
        """Send what there is to send: events, a new stream's announcement, encoded pieces."""
        await self._send_events(transport)
        if self._pump.reopen:
            await self._open_stream(transport)
        await self._encode()
        if self._liveness.superseded(connection):  # what there is now belongs to another
            raise Superseded
        await self._send_events(transport)
        await self._pump.send(transport, self._liveness)
        now = self._now()
        self._send_stats(now)
        self._liveness.check(now)

    async def _send_events(self, transport: Transport) -> None:
        events = self._control.events
        while events:
            await transport.send_event(events.popleft())

    async def _open_stream(self, transport: Transport) -> None:
        self._close_stream()
        output, format = self.session.output, self._control.format
        stream = await self._pump.open(transport, format, output.width, output.height)
        self._liveness.restart()
        while self._input.busy:  # a piece that the last connection brought: `taken_bytes` is to count it
            await asyncio.sleep(0.005)
        await transport.send_event(
            {
                "type": "ready",
                "session": self.session.id,
                "token": self.token,
                "avatar": self.session.avatar.id,
                "media_type": stream.media_type,
                "format": format,
                "width": output.width,
                "height": output.height,
                "fps": FPS,
                "sample_rate": self._input.sample_rate,
                "look_ahead_ms": self._look_ahead_ms,
                "window_bytes": self._limits.window_bytes,
                "generation": self.session.generation,
                "talking": self._control.talking,
                "taken_bytes": self._input.taken_bytes,
                "emotions": list(self._control.emotions),
                "refine": output.refine if self.session.avatar.refine is not None else None,
            }
        )
        self._pump.stream = stream

    async def _encode(self) -> None:
        stream = self._pump.stream
        before, started = stream.first if stream is not None else None, self._now()
        batch = await self._pump.encode()
        if self._pump.more:
            self._awake.set()
        if batch and stream is not None:
            now = self._now()
            self._stats.encoded(batch, now - started, now)
            if before is None and stream.first is not None:
                self._control.emit("started", frame=stream.first)

    def _close_stream(self) -> None:
        self._stats.stream_closed(self._pump.dropped)
        self._pump.stream = None

    def _send_stats(self, now: float) -> None:
        if not self._stats.report_is_due(now, self._stats.dropped(self._pump.dropped)):
            return
        self._settle_input()
        latency = self._stats.latency()
        self._control.emit(
            "stats",
            fps=self._stats.fps(now),
            frame=self.session.next_frame,
            repeats=self._stats.repeats,
            dropped=self._stats.dropped(self._pump.dropped),
            buffered_s=round(self.session.waiting_s, 3),
            latency_ms=latency.model_dump() if latency is not None else None,
            look_ahead_ms=self._look_ahead_ms,
        )

    @property
    def _look_ahead_ms(self) -> float:
        return round(1000 * self.session.avatar.audio_range.look_ahead_s, 1)

    def info(self) -> SessionInfo:
        """As `/v1/sessions` tells it."""
        output = self.session.output
        return SessionInfo(
            id=self.session.id,
            avatar=self.session.avatar.id,
            state="live" if self.connected else "waiting",
            started=self.started,
            width=output.width,
            height=output.height,
            format=self._control.format,
            frame=self.session.next_frame,
            generation=self.session.generation,
            talking=self.session.talking,
            buffered_s=round(self.session.waiting_s, 3),
            fps=self._stats.fps(self._now()),
            repeats=self._stats.repeats,
            dropped=self._stats.dropped(self._pump.dropped),
            latency_ms=self._stats.latency(),
        )
