"""The first of two passes over a sound track: what is in it, when, and how loud; nothing of the sound is kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from being.errors import InputError
from being.media.reading.downmix import Levels, mix
from being.media.reading.file_clock import FileClock, PacketLog, find_clock
from being.media.reading.placement import Shift, place_frames
from being.media.reading.sound_decoding import Failure, SoundDecoder, planes_of
from being.media.reading.tracks import SILENT_PEAK

if TYPE_CHECKING:
    import av

LIMIT_TOLERANCE_S = 0.5  # containers round their durations
TOO_LONG = "Cut it, or raise the limit: --limit of being render, limits.sound_s of a server"
_STATING = ("wav", "w64", "aiff", "caf", "au", "flac", "mov", "matroska", "asf", "avi", "wv", "ape", "tta")
_ENDING = ("matroska", "flv")  # they state the end of the file
_GUESSING = ("mp3", "aac")  # their length is guessed from the bit rate of their beginning


@dataclass(frozen=True)
class TrackScan:
    """What a track holds.

    Attributes
    ----------
    format : FFmpeg's name of the container's. clock : of the file.
    shifts : how decoded frames must be moved to be where their stamps say.
    stamps, seconds : (F,) of the decoded frames: on the file's clock (NaN: not stamped), and how long each sounds.
    begins_s, ends_s : of the sound on the file's clock, holes and all. pictures_begin_s : NaN where there are none.
    sides : 1 where all of it is mono, else 2. widest : the layout with most channels.
    failures : packets that cannot be decoded. packets : those that can. stated_s : what the file says about its length.
    stated_end_s : and about its end on its own clock; 0 where it says nothing.
    """

    format: str
    clock: FileClock
    shifts: tuple[Shift, ...]
    stamps: NDArray[np.float64]
    seconds: NDArray[np.float64]
    begins_s: float
    ends_s: float
    pictures_begin_s: float
    levels: Levels
    sides: int
    widest: tuple[str, ...]
    failures: tuple[Failure, ...]
    packets: int
    stated_s: float
    stated_end_s: float = 0.0

    @property
    def silent(self) -> bool:
        """Whether there is nothing to hear."""
        return self.levels.peak < SILENT_PEAK


def scan_track(
    name: str, container: av.container.InputContainer, stream: Any, pictures: int | None, limit_s: float
) -> TrackScan:
    """Decode a track once, to know it.

    Parameters
    ----------
    pictures : index of the stream with the moving pictures, if there is one.
    limit_s : more sound than this is refused as soon as it is seen.

    Raises
    ------
    InputError
        Longer than the limit; less than half of it can be decoded; nothing in it.
    """
    stated = stated_seconds(container, stream)
    kinds = container.format.name.split(",")
    if any(kind in _STATING for kind in kinds) or (stated > 2 * limit_s and any(kind in _GUESSING for kind in kinds)):
        check_limit(name, stated, limit_s)
    log = PacketLog()
    decoder = SoundDecoder(name, container, stream, log)
    raw: list[float] = []
    seconds: list[float] = []
    levels = Levels()
    widest: tuple[str, ...] = ()
    decoded_s = 0.0
    for stamp, frame in decoder.frames():
        names = tuple(channel.name for channel in frame.layout.channels)
        widest = max(widest, names, key=len)
        levels.add(mix(planes_of(frame), names, min(len(names), 2)))
        raw.append(stamp)
        seconds.append(frame.samples / frame.sample_rate)
        decoded_s += seconds[-1]
        if decoded_s > limit_s + LIMIT_TOLERANCE_S:
            raise InputError(f"{name} lasts longer than the limit of {clocked(limit_s)}", TOO_LONG)
    _require_half(name, decoder, stream)
    if not raw:
        raise InputError(f"{name} holds no samples", "Give a sound or video file that plays in a media player")
    clock = find_clock(log, container.format.name)
    durations = np.array(seconds)
    stamps, clock = _on_clock(np.array(raw), durations, clock, stream.index, seamless=pictures is None)
    # A hole longer than anything that may be read is a clock gone wrong.
    placement = place_frames(stamps, durations)
    shifts = tuple(shift for shift in placement.shifts if abs(shift.seconds) <= limit_s)
    begins = placement.begins_s
    ends = begins + decoded_s + sum(shift.seconds for shift in shifts)
    check_limit(name, ends - begins, limit_s)
    return TrackScan(
        format=container.format.name,
        clock=clock,
        shifts=shifts,
        stamps=stamps,
        seconds=durations,
        begins_s=begins,
        ends_s=ends,
        pictures_begin_s=clock.begins_s(pictures) if pictures is not None else np.nan,
        levels=levels,
        sides=min(len(widest), 2),
        widest=widest,
        failures=tuple(decoder.failures),
        packets=decoder.packets,
        stated_s=stated,
        stated_end_s=(container.duration or 0) / 1e6 if any(kind in _ENDING for kind in kinds) else 0.0,
    )


def _on_clock(
    raw: NDArray[np.float64], seconds: NDArray[np.float64], clock: FileClock, stream: int, *, seamless: bool
) -> tuple[NDArray[np.float64], FileClock]:
    """The stamps of decoded frames on the file's clock, and that clock.

    `seamless`: there is nothing but sound, so that joined recordings follow each other by what was decoded, whatever
    their packets say about their ends.
    """
    follow = clock.follow(stream)
    stamps = raw.copy()
    ends = np.cumsum(seconds)
    joints: list[float] = []
    before, moved = -1, 0.0  # the last frame with a stamp; what later ones are moved by
    for index in np.flatnonzero(~np.isnan(raw)):
        stretch = follow.stretch
        at = follow(float(raw[index])) + moved
        if seamless and follow.stretch != stretch and before >= 0:
            expected = float(stamps[before] + ends[index - 1] - ends[before] + seconds[before])
            moved, at = moved + expected - at, expected
            joints.append(at)
        stamps[index], before = at, int(index)
    return stamps, replace(clock, joints=tuple(joints)) if seamless else clock


def stated_seconds(container: av.container.InputContainer, stream: Any) -> float:
    """What the file says about the length of its sound; 0 where it says nothing."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is None:
        return 0.0
    begins = max(container.start_time or 0, 0) if "matroska" in container.format.name else 0  # it states the end
    return (container.duration - begins) / 1e6  # AV_TIME_BASE is microseconds


def check_limit(name: str, seconds: float, limit_s: float) -> None:
    """Refuse what lasts longer than the limit."""
    if seconds > limit_s + LIMIT_TOLERANCE_S:
        raise InputError(f"{name} lasts {clocked(seconds)}, the limit is {clocked(limit_s)}", TOO_LONG)


def clocked(seconds: float) -> str:
    """0:01:05, and 0.5 s below a minute."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _require_half(name: str, decoder: SoundDecoder, stream: Any) -> None:
    failed = len(decoder.failures)
    if failed > decoder.packets:
        codec = stream.codec_context.name.upper()
        share = decoder.packets / (failed + decoder.packets)
        raise InputError(
            f"{name} is damaged: {share:.0%} of its sound ({codec}) can be decoded, at least half is needed",
            "Copy or download the file again, or convert it to WAV first",
        )
