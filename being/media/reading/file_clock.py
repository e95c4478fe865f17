"""One unbroken clock for a file: where streams were joined end to end, the clock that starts again is carried on.

Transport streams, chained Ogg and the like may hold several recordings, each with its own time stamps. A stream's
stamps that step back begin a new stretch; the stretches that belong together in sound and picture get the same offset,
so that what was paired stays paired: the new stretch begins where the longest stream of the old one ended. Holes inside
a stretch are none of this module's business (`placement` fills them for sound).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from being.media.reading.input_container import moving_pictures
from being.media.reading.notes import Note, NoteKind, Span

if TYPE_CHECKING:
    import av

BACK_S = 0.1  # stamps that step back further begin a new stretch; by less they overlap
AHEAD_S = 10.0  # where joining is usual, stamps that jump ahead further begin a new stretch
APART_S = 3.0  # streams of one stretch begin at most so far apart
_JOINING = ("mpegts", "mpeg", "ogg", "flv", "aac", "mp3", "ac3", "eac3", "flac", "dts", "live_flv")

Floats = NDArray[np.float64]


@dataclass
class PacketLog:
    """Packets of the watched streams in the order of the file, as far as their stamps go."""

    streams: list[int] = field(default_factory=list)
    stamps: list[float] = field(default_factory=list)  # decoding time, seconds; NaN where there is none
    shown: list[float] = field(default_factory=list)  # presentation time, the same
    seconds: list[float] = field(default_factory=list)  # duration, 0 where it is not known

    def add(self, packet: av.Packet) -> None:
        """Note a packet that is no flush."""
        base = float(packet.time_base or 0)
        self.streams.append(packet.stream_index)
        self.stamps.append(np.nan if packet.dts is None else packet.dts * base)
        self.shown.append(np.nan if packet.pts is None else packet.pts * base)
        self.seconds.append((packet.duration or 0) * base)


@dataclass
class Stretch:
    """A part of one stream with an unbroken clock; times as stamped, seconds."""

    recording: int  # which of the joined recordings it belongs to
    begins_s: float
    ends_s: float
    offset_s: float = 0.0  # add to a stamp to have the file's clock


@dataclass(frozen=True)
class FileClock:
    """What turns the time stamps of a file into one clock.

    Attributes
    ----------
    stretches : by stream index, in order; a stream without stamps has none.
    joints : where recordings were joined, seconds on the unbroken clock.
    """

    stretches: dict[int, list[Stretch]]
    joints: tuple[float, ...] = ()

    def follow(self, stream: int) -> Follower:
        """Turns the stamps of a stream's decoded frames, given in order, into the file's clock."""
        return Follower(self.stretches.get(stream, []))

    def begins_s(self, stream: int) -> float:
        """When a stream begins; 0 where it has no stamps."""
        stretches = self.stretches.get(stream)
        return stretches[0].begins_s if stretches else 0.0

    def notes(self, zero_s: float = 0.0) -> tuple[Note, ...]:
        """What was carried on, if anything; times after `zero_s`."""
        if not self.joints:
            return ()
        spans = tuple(Span(at - zero_s, 0.0) for at in self.joints)
        where = ", ".join(f"{span.start_s:.2f} s" for span in spans[:8]) + (", ..." if len(spans) > 8 else "")
        text = f"{len(spans) + 1} recordings are joined, the clock is carried on at {where}"
        return (Note(NoteKind.JOINED, text),)


class Follower:
    """The stamps of one stream's decoded frames -> the file's clock; `stretch` is the number of the present one."""

    def __init__(self, stretches: Sequence[Stretch]) -> None:
        self._stretches = stretches
        self.stretch = 0
        self._latest = -np.inf

    def __call__(self, stamp_s: float) -> float:
        """A stamp of the next frame in presentation order, seconds."""
        if self.stretch + 1 < len(self._stretches) and self._belongs_to_next(stamp_s):
            self.stretch += 1
            self._latest = -np.inf
        self._latest = max(self._latest, stamp_s)
        return stamp_s + (self._stretches[self.stretch].offset_s if self._stretches else 0.0)

    def _belongs_to_next(self, stamp_s: float) -> bool:
        now, later = self._stretches[self.stretch], self._stretches[self.stretch + 1]
        if not later.begins_s - 1.0 <= stamp_s <= later.ends_s + 1.0:
            return False
        outside = not now.begins_s - 1.0 <= stamp_s <= now.ends_s + 1.0
        return outside or stamp_s < self._latest - BACK_S


def watched(container: av.container.InputContainer) -> list[Any]:
    """The streams whose stamps make the clock."""
    return [*container.streams.audio, *moving_pictures(container)]


def find_clock(log: PacketLog, format: str) -> FileClock:
    """The clock of packets that were seen; `format` is FFmpeg's name of the container's."""
    joining = any(name in _JOINING for name in format.split(","))
    stamps = _without_strays(log)
    stretches: dict[int, list[Stretch]] = {}
    latest: dict[int, float] = {}  # stamp expected next, by stream
    recordings = 1
    for stream, stamp, shown, seconds in zip(log.streams, stamps, log.shown, log.seconds, strict=True):
        if np.isnan(stamp):
            _reach(stretches.setdefault(stream, []), shown, seconds)
            continue
        shown = stamp if np.isnan(shown) else shown
        own = stretches.setdefault(stream, [])
        expected = latest.get(stream, stamp)
        if own and (stamp < expected - seconds - BACK_S or (joining and stamp > expected + AHEAD_S)):
            number = _recording_at(stamp, own[-1].recording, stretches)
            own.append(Stretch(recordings if number is None else number, shown, shown + seconds))
            recordings += number is None
        elif not own:
            own.append(Stretch(0, shown, shown + seconds))
        own[-1].begins_s = min(own[-1].begins_s, shown)
        own[-1].ends_s = max(own[-1].ends_s, shown + seconds)
        latest[stream] = stamp + seconds
    return FileClock(stretches, _lay_end_to_end(stretches, recordings))


def _reach(own: list[Stretch], shown: float, seconds: float) -> None:
    """A packet without a decoding time belongs to the present stretch, or is the first: Matroska has such."""
    if np.isnan(shown):
        return
    if not own:
        own.append(Stretch(0, shown, shown + seconds))
    elif own[-1].begins_s - BACK_S <= shown <= own[-1].ends_s + APART_S:
        own[-1].begins_s = min(own[-1].begins_s, shown)
        own[-1].ends_s = max(own[-1].ends_s, shown + seconds)


def _recording_at(stamp: float, current: int, stretches: dict[int, list[Stretch]]) -> int | None:
    """The recording, later than `current`, that another stream has begun already and that this stamp belongs to."""
    for own in stretches.values():
        for stretch in own:
            if stretch.recording > current and stretch.begins_s - APART_S <= stamp <= stretch.ends_s + APART_S:
                return stretch.recording
    return None


def _lay_end_to_end(stretches: dict[int, list[Stretch]], recordings: int) -> tuple[float, ...]:
    """Set the offsets; returns where the recordings but the first begin."""
    joints = []
    for number in range(1, recordings):
        pairs = [
            (before, here) for own in stretches.values() for before, here in pairwise(own) if here.recording == number
        ]
        if not pairs:
            continue
        begins = max(before.ends_s + before.offset_s for before, _ in pairs)
        offset = begins - min(here.begins_s for _, here in pairs)
        for _, here in pairs:
            here.offset_s = offset
        joints.append(begins)
    return tuple(joints)


def _without_strays(log: PacketLog) -> list[float]:
    """The stamps, NaN where a single one is far from both its neighbours in its stream, which agree.

    A stream that has presentation times only goes by these.
    """
    undated = set(log.streams) - {s for s, stamp in zip(log.streams, log.stamps, strict=True) if not np.isnan(stamp)}
    dated = zip(log.streams, log.stamps, log.shown, strict=True)
    stamps = [shown if stream in undated else stamp for stream, stamp, shown in dated]
    places: dict[int, list[int]] = {}
    for place, (stream, stamp) in enumerate(zip(log.streams, stamps, strict=True)):
        if not np.isnan(stamp):
            places.setdefault(stream, []).append(place)
    for own in places.values():
        times = np.array([stamps[place] for place in own])
        if len(times) < 3:
            continue
        before, here, after = times[:-2], times[1:-1], times[2:]
        agree = (after > before) & (after - before < 1.0)
        for index in np.flatnonzero(agree & ((here < before - BACK_S) | (here > after + BACK_S))):
            stamps[own[int(index) + 1]] = np.nan
    return stamps
