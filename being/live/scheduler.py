"""The frame clock of many sessions: which frames to ask the graph for now, and what to show as its answers arrive.

Pure logic: the time is an argument, nothing sleeps and nothing is awaited. Somebody calls `start` when `next_due` says
so, sends the tick through a graph, and hands the answer to `finish`; both return what the sessions' sinks should do.

A tick holds the next frames of every session. Ticks overlap, two at once, and are delivered in order: a picture's delay
is the length of that queue. While passes keep up a tick is one frame; when they run late it takes up to four, where a
pass then still comes back well within the patience for it. When even that is not enough the newest frames are drawn
and the last picture is shown again for the others. Sound is handed out with the clock and never waits for a picture.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from being.constants import FPS
from being.inference.frames import FrameRecord
from being.live.refine_fade import RefineFade
from being.live.requests import FrameRequest
from being.live.session import Session, skip_all, take_all

EPSILON_S = 1e-6  # clocks that are asked exactly at a frame's time must not miss it by a rounding error


@dataclass(frozen=True)
class Pacing:
    """How the clock behaves when drawing is slow.

    in_flight : ticks under way at once: one is drawn while the other travels.
    longest_tick : frames of one tick, and frames that may be due before those are skipped whose turn it is.
    patience_s : a picture this late is given up and the last one shown in its place.
    longest_patience_s : what patience grows to where passes take longer, for else nothing would ever be seen.
    """

    in_flight: int = 2
    longest_tick: int = 4
    patience_s: float = 0.4
    longest_patience_s: float = 1.0


@dataclass(frozen=True, eq=False)
class Sound:
    """Sound heard from frame `index` on, (S, channels) at 48 kHz."""

    session: str
    index: int
    pcm: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Picture:
    """Frame `index` as drawn."""

    session: str
    index: int
    record: FrameRecord


@dataclass(frozen=True)
class Repeat:
    """Frame `index` has no picture of its own: show the last one again. `reason` is for the log."""

    session: str
    index: int
    reason: str


Delivery = Sound | Picture | Repeat


@dataclass(frozen=True, eq=False)
class Tick:
    """One call to the graph: the requests of all sessions, due at a time."""

    number: int
    due: float
    requests: Sequence[FrameRequest]


@dataclass
class Tally:
    """What happened since the start; latencies are of pictures, from due to delivered, seconds."""

    ticks: int = 0
    late_ticks: int = 0
    pictures: int = 0
    repeats: int = 0
    latency_s: deque[float] = field(default_factory=lambda: deque(maxlen=1000))


@dataclass(frozen=True)
class _Slot:
    """Frames of one session that await their pictures."""

    session: str
    generation: int
    first: int
    count: int


@dataclass
class _InFlight:
    """A tick under way (number None: frames that were skipped and only await their turn to be shown as repeats)."""

    number: int | None
    due: float
    started: float
    slots: Sequence[_Slot]
    records: Sequence[FrameRecord] | None = None
    failure: str | None = None

    @property
    def answered(self) -> bool:
        return self.records is not None or self.failure is not None


class Scheduler:
    """Sessions on one clock.

    Parameters
    ----------
    now : float
        Seconds of a steady clock: the time of the first frame.
    fps : int
        Frames a second.
    pacing : Pacing
    """

    def __init__(self, now: float, fps: int = FPS, pacing: Pacing | None = None) -> None:
        self.tally = Tally()
        self._fps = fps
        self._pacing = pacing or Pacing()
        self._epoch = now
        self._frame = 0  # the clock's next frame
        self._numbers = 0
        self._sessions: dict[str, Session] = {}
        self._flight: deque[_InFlight] = deque()
        self._length = self._pacing.longest_tick  # frames of the next tick, at most
        self._alone = False  # even one frame takes long: a second tick would only wait behind it
        self.patience_s = self._pacing.patience_s
        """How late a picture may be now."""
        self.refine_fade = RefineFade()

    @property
    def sessions(self) -> list[str]:
        """Ids of the sessions on the clock."""
        return list(self._sessions)

    def join(self, session: Session) -> None:
        """Put a session on the clock: its first frame belongs to the next tick."""
        if session.id in self._sessions:
            raise ValueError(f"session {session.id} is on the clock already")
        self._sessions[session.id] = session

    def leave(self, session_id: str) -> None:
        """Take a session off; its frames in flight are dropped when they arrive."""
        self._sessions.pop(session_id, None)

    def next_due(self, now: float) -> float:
        """When to call `start` next. While ticks in flight forbid one: when one is given up, or sound must go on."""
        due = self._epoch + self._frame / self._fps
        if self._full:
            return max(now, min(self._flight[0].due + self.patience_s, due + self._pacing.longest_tick / self._fps))
        return due

    def start(self, now: float) -> tuple[Tick | None, list[Delivery]]:
        """The tick that is due, if one is and may fly, and what the sinks get at once: its sound, given-up frames."""
        deliveries = self._give_up(now)
        behind = math.floor((now - self._epoch) * self._fps + EPSILON_S) + 1 - self._frame
        if self._full:
            if behind > self._pacing.longest_tick:
                deliveries += self._skip(behind - self._pacing.longest_tick, now)
            return None, deliveries
        if behind <= 0:
            return None, deliveries
        count = min(behind, self._length)
        if behind > count:
            deliveries += self._skip(behind - count, now)
        due = self._epoch + self._frame / self._fps
        self._frame += count
        requests = []
        if count > 1:
            self.refine_fade.late()
        else:
            self.refine_fade.in_time()
        for take in take_all(list(self._sessions.values()), count, now):
            deliveries.append(Sound(take.request.session, take.request.first, take.sound))
            requests.append(self._faded(take.request))
        if not requests:
            return None, deliveries
        self._numbers += 1
        self.tally.ticks += 1
        self.tally.late_ticks += count > 1
        slots = [_Slot(request.session, request.generation, request.first, request.count) for request in requests]
        self._flight.append(_InFlight(self._numbers, due, now, slots))
        return Tick(self._numbers, due, requests), deliveries

    def _faded(self, request: FrameRequest) -> FrameRequest:
        """The request with as much of the refiner as there is time for."""
        share = self.refine_fade.share
        if share == 1.0 or not request.output.refine:
            return request
        return replace(request, output=replace(request.output, refine=share * request.output.refine))

    def finish(self, number: int, answer: Sequence[FrameRecord] | str, now: float) -> list[Delivery]:
        """The graph answered tick `number` with its records, or failed for the reason given.

        Returns what can be shown now, in order: nothing while an earlier tick is still out, and nothing for a tick that
        was given up.
        """
        for flying in self._flight:
            if flying.number == number:
                if isinstance(answer, str):
                    flying.failure = answer
                elif len(answer) != sum(slot.count for slot in flying.slots):
                    flying.failure = "the graph answered with another number of frames"
                else:
                    flying.records = answer
                    self._learn(now - flying.started)
        return self._deliver(now)

    def interrupted(self, now: float) -> tuple[list[int], list[Delivery]]:
        """Sessions were interrupted: numbers of ticks that nobody waits for any more, and what the sinks get now."""
        dropped = []
        for flying in self._flight:
            if flying.number is not None and not flying.answered and all(map(self._stale, flying.slots)):
                flying.failure = "interrupted"
                dropped.append(flying.number)
        return dropped, self._deliver(now)

    def _stale(self, slot: _Slot) -> bool:
        session = self._sessions.get(slot.session)
        return session is None or slot.generation < session.generation

    def _learn(self, pass_s: float) -> None:
        """From the time a pass took: how many frames the next may carry, and how long to wait for it."""
        if pass_s > self.patience_s / 2:
            self._alone = self._length == 1
            self._length = max(1, self._length - 1)
        elif pass_s < self.patience_s / 4:
            self._alone = False
            self._length = min(self._pacing.longest_tick, self._length + 1)
        wanted = min(max(3 * pass_s, self._pacing.patience_s), self._most_patience_s)
        self.patience_s += (wanted - self.patience_s) * (1.0 if wanted > self.patience_s else 0.1)

    @property
    def _most_patience_s(self) -> float:
        return max(self._pacing.patience_s, self._pacing.longest_patience_s)

    @property
    def _full(self) -> bool:
        most = 1 if self._alone else self._pacing.in_flight
        return sum(flying.number is not None for flying in self._flight) >= most

    def _deliver(self, now: float) -> list[Delivery]:
        """Everything at the head of the queue that has an answer."""
        deliveries: list[Delivery] = []
        while self._flight and self._flight[0].answered:
            flying = self._flight.popleft()
            if flying.number is not None:
                self.tally.latency_s.append(now - flying.due)
            records = iter(flying.records or ())
            for slot in flying.slots:
                for index in range(slot.first, slot.first + slot.count):
                    record = next(records) if flying.failure is None else None
                    deliveries += self._show(slot, index, record, flying.failure)
        return deliveries

    def _show(self, slot: _Slot, index: int, record: FrameRecord | None, failure: str | None) -> list[Delivery]:
        session = self._sessions.get(slot.session)
        if session is None:
            return []
        if record is None:
            reason = failure or "no picture"
        elif record.error is not None or record.image is None:
            reason = record.error or "no picture"
        elif slot.generation < session.generation:
            reason = "interrupted"
        else:
            self.tally.pictures += 1
            return [Picture(session.id, index, record)]
        self.tally.repeats += 1
        return [Repeat(session.id, index, reason)]

    def _give_up(self, now: float) -> list[Delivery]:
        """Ticks at the head of the queue that are out of patience show repeats; their answers will find nobody."""
        deliveries = self._deliver(now)
        while self._flight and now >= self._flight[0].due + self.patience_s - EPSILON_S:
            self._flight[0].failure = "late"
            self.refine_fade.late()
            self._alone, self._length = True, max(1, self._length // 2)
            self.patience_s = min(1.5 * self.patience_s, self._most_patience_s)
            deliveries += self._deliver(now)
        return deliveries

    def _skip(self, count: int, now: float) -> list[Delivery]:
        """Frames too late to ask for: their sound is due all the same, their repeats come after the pictures before."""
        due = self._epoch + self._frame / self._fps
        self._frame += count
        sounds: list[Delivery] = []
        sessions = list(self._sessions.values())
        slots = [_Slot(session.id, session.generation, session.next_frame, count) for session in sessions]
        for slot, sound in zip(slots, skip_all(sessions, count, now), strict=True):
            sounds.append(Sound(slot.session, slot.first, sound))
        self._flight.append(_InFlight(None, due, now, slots, failure="late"))
        return sounds + self._deliver(now)
