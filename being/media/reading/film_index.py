"""What a film holds by its packets alone: when each picture is shown on the file's unbroken clock, and how many.

Nothing is decoded, so it is quick whatever the film's length. Pictures and sound share one clock
(`being.media.reading.file_clock`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from being.errors import InputError
from being.media.reading.file_clock import FileClock, PacketLog, find_clock, watched
from being.media.reading.input_container import AGAIN, moving_pictures, open_container, read_packets

if TYPE_CHECKING:
    import av

Floats = NDArray[np.float64]

REMEDY = "Give a video of a talking person that plays in a media player (mp4, mov, webm, mkv)"
LEAD_IN_S = 1.0  # decoding begins at a key picture at least so long before the first one that is wanted
STRAY_S = 1.0  # a stamp farther than this outside of all the others is a slip
REORDERED_S = 5.0
USUAL_RATE = 25.0  # pictures a second where a file tells neither rate nor time stamps


@dataclass(frozen=True)
class FilmIndex:
    """One pass over a film's packets.

    Attributes
    ----------
    stream : index of the picture stream. sounds : how many sound streams there are.
    clock : of the whole file.
    shown_s : (P,) when the picture of each packet is shown, seconds on the clock, in the order of the file;
        NaN where it is not.
    keys : (P,) bool, packets at which decoding can begin.
    stated_s : the duration that the file claims for its pictures; 0 where it claims none. held_s : what it holds.
    undated : the container tells the order of decoding only (AVI): the k-th picture has the k-th stamp.
    pixel_aspect : width of a pixel over its height, 1 where the file tells nothing.
    tag : the container's own name of the codec, as "hvc1".
    """

    stream: int
    sounds: int
    clock: FileClock
    shown_s: Floats
    keys: NDArray[np.bool_]
    stated_s: float
    held_s: float
    undated: bool
    pixel_aspect: float
    tag: str

    @property
    def stamps(self) -> Floats:
        """When pictures are shown, seconds, ascending, each once."""
        return np.unique(self.shown_s[~np.isnan(self.shown_s)])

    def entry_before(self, seconds: float) -> int:
        """The packet from which on everything must be decoded that is shown at `seconds` or later."""
        if len(self.clock.stretches.get(self.stream, ())) > 1:
            return 0
        entries = np.flatnonzero(self.keys & (self.shown_s <= seconds - LEAD_IN_S))
        return int(entries[-1]) if len(entries) else 0


def read_index(path: Path) -> FilmIndex:
    """Read the packets of a film.

    Raises
    ------
    InputError
        Not there, not a film, or without moving pictures.
    """
    with open_container(path, REMEDY) as container:
        stream = picture_stream(path, container)
        undated = "avi" in container.format.name.split(",")
        log, keys = PacketLog(), []
        for packet in read_packets(container, watched(container)):
            if not packet.size:
                continue
            log.add(packet)
            if packet.stream_index == stream.index:
                keys.append(packet.is_keyframe and not packet.is_discard)
                if packet.is_discard:
                    log.shown[-1] = np.nan
        clock = find_clock(log, container.format.name)
        rate = float(stream.average_rate or stream.guessed_rate or USUAL_RATE)
        ratio = stream.sample_aspect_ratio
        shown = _shown(log, stream.index, clock, undated, rate)
        stated, held = _lengths(container, stream, clock, shown, rate)
        return FilmIndex(
            stream=stream.index,
            sounds=len(container.streams.audio),
            clock=clock,
            shown_s=shown,
            keys=np.array(keys, bool),
            stated_s=stated,
            held_s=held,
            undated=undated,
            pixel_aspect=float(ratio) if ratio else 1.0,
            tag=stream.codec_context.codec_tag,
        )


def picture_stream(path: Path, container: av.container.InputContainer) -> Any:
    """The film among the video streams: the default one, else the first that can be decoded; no cover picture."""
    streams = [s for s in moving_pictures(container) if s.codec_context is not None]
    if not streams:
        raise InputError(f"{path} holds no moving picture", REMEDY)
    return next((s for s in streams if s.disposition & s.disposition.__class__.default), streams[0])


def require_pictures(path: Path, index: FilmIndex) -> None:
    """Raise InputError where there is no more than a single picture."""
    if len(index.stamps) < 2:
        many = "a single picture" if len(index.shown_s) else "no picture"
        raise InputError(f"{path} holds {many}, not a video", REMEDY if len(index.shown_s) else AGAIN)


def _shown(log: PacketLog, stream: int, clock: FileClock, undated: bool, rate: float) -> Floats:
    """When each packet's picture is shown, NaN where it never is; by the rate where most have no stamp."""
    own = np.array(log.streams, np.int64) == stream
    decoded, shown = np.array(log.stamps)[own], np.array(log.shown)[own]
    follow = clock.follow(stream)
    offset = np.array([0.0 if np.isnan(stamp) else follow(stamp) - stamp for stamp in decoded])
    delay = shown - decoded
    if np.isfinite(delay).any():  # pictures are never reordered so far
        shown[np.abs(delay - np.nanmedian(delay)) > REORDERED_S] = np.nan
    times = (decoded if undated else shown) + offset
    own_parts = clock.stretches.get(stream)
    if own_parts:  # a stray stamp is in none of them
        begins, ends = own_parts[0].begins_s, _ends(clock, stream)
        times[(times < begins - STRAY_S) | (times > ends + STRAY_S)] = np.nan
    return times if np.isnan(times).mean() < 0.5 else np.arange(len(times)) / rate


def _lengths(
    container: av.container.InputContainer, stream: Any, clock: FileClock, shown: Floats, rate: float
) -> tuple[float, float]:
    """Seconds that the file claims (0: it does not), of its pictures or else of all in it; and that it holds."""
    if stream.duration is not None and stream.time_base is not None:
        held = float(np.nanmax(shown) - np.nanmin(shown)) + 1 / rate if len(shown) else 0.0
        return float(stream.duration * stream.time_base), held
    if container.duration is None or not clock.stretches:
        return 0.0, 0.0
    begins = min(clock.begins_s(index) for index in clock.stretches)
    ends = max(_ends(clock, index) for index in clock.stretches)
    return container.duration / 1e6, ends - begins  # AV_TIME_BASE is microseconds


def _ends(clock: FileClock, stream: int) -> float:
    """When the last packet of a stream ends, seconds on the clock."""
    own = clock.stretches.get(stream)
    return own[-1].ends_s + own[-1].offset_s if own else 0.0
