"""A film decoded picture by picture, each with its time on the file's clock; what cannot be decoded is stepped over."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from being.constants import FPS
from being.media.reading.film_index import REMEDY, STRAY_S, FilmIndex
from being.media.reading.input_container import open_container, read_packets
from being.media.reading.interlace import Deinterlacer, FieldOrder
from being.media.reading.notes import Span

if TYPE_CHECKING:
    import av

HELD_S, HOLE_S = 0.1, 0.5  # pictures held longer than this are stale, where no other comes for as long as that
REORDERED = 32  # pictures that may wait in a decoder before they are shown


@dataclass
class Decoding:
    """What a pass over a film came to.

    Attributes
    ----------
    failed : packets that could not be decoded.
    stale_s : (frames,) how far in time the picture shown at each output instant is from it, inf where it is damaged.
    interlaced : pictures were interlaced. resized : they changed their size midway.
    """

    stale_s: NDArray[np.float32]
    failed: int = 0
    interlaced: bool = False
    resized: bool = False

    def show(self, frame: av.VideoFrame, time_s: float, first: int, until: int) -> None:
        """Note that a picture of time `time_s` is shown at the instants from `first` to before `until`."""
        self.stale_s[first:until] = np.inf if frame.is_corrupt else np.abs(np.arange(first, until) / FPS - time_s)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Output instants (frames,) at which the film has no picture of its own: holes and damage."""
        return self.stale_s > HELD_S


def spans_of(flags: NDArray[np.bool_]) -> tuple[Span, ...]:
    """Runs of true frames (T,) as stretches of seconds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return tuple(Span(float(a) / FPS, float(b - a) / FPS) for a, b in zip(edges[::2], edges[1::2], strict=True))


def decoded(
    path: Path,
    index: FilmIndex,
    start_s: float,
    state: Decoding,
    threads: int = 0,
    fields: FieldOrder | None = None,
) -> Iterator[tuple[av.VideoFrame, float]]:
    """Whole pictures from about `start_s` on, in the order of their times, seconds on the clock.

    What cannot be decoded is counted in `state` and left out. threads : of the decoder, 0 as it likes. fields :
    see `being.media.reading.combing`.
    """
    whole = Deinterlacer(fields)
    previous, size = -np.inf, None
    for frame, time in _by_packets(path, index, start_s, state, threads):
        if time <= previous:
            continue
        previous = time
        state.resized |= size not in (None, (frame.width, frame.height))
        size = frame.width, frame.height
        yield from whole.push(frame, time)
        state.interlaced |= whole.used
    yield from whole.flush()


def _by_packets(
    path: Path, index: FilmIndex, start_s: float, state: Decoding, threads: int
) -> Iterator[tuple[av.VideoFrame, float]]:
    import av

    skip = index.entry_before(start_s)
    due: list[float] = []  # stamps of pictures still in the decoder, where it tells none
    follow = index.clock.follow(index.stream)
    rate = len(index.stamps) / max(float(np.ptp(index.stamps)), 1e-3)
    first, last = float(index.stamps[0]), float(index.stamps[-1])
    latest = first - 1 / rate
    with open_container(path, REMEDY) as container:
        stream: Any = container.streams[index.stream]
        stream.thread_type = "AUTO"
        if threads:
            stream.codec_context.thread_count = threads
        number, before = -1, latest
        for packet in read_packets(container, [stream]):
            ends = packet.size == 0 and packet.dts is None and packet.pts is None
            if packet.size:
                number += 1
                if number < skip:
                    continue
                if index.undated and number < len(index.shown_s):
                    heapq.heappush(due, float(index.shown_s[number]))
            elif not ends:
                continue
            try:
                frames = packet.decode()
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, ValueError):
                state.failed += 1
                continue
            for frame in frames:
                while len(due) > REORDERED:
                    heapq.heappop(due)
                if index.undated and due:
                    latest = heapq.heappop(due)
                elif frame.time is not None and not index.undated:
                    latest = follow(frame.time)
                else:
                    latest += 1 / rate
                if not first - STRAY_S <= latest <= last + STRAY_S:  # a stray stamp
                    latest = before + 1 / rate
                before = latest
                yield frame, latest


def with_holes_alone(state: Decoding) -> Decoding:
    """`stale_s` only counts where no picture comes for HOLE_S: slow film (10 pictures a second) has no holes."""
    far = state.stale_s > HELD_S
    for span in spans_of(far):
        part = slice(round(span.start_s * FPS), round((span.start_s + span.seconds) * FPS))
        values = state.stale_s[part]
        if np.isfinite(values).all() and 2 * values.max() < HOLE_S:
            state.stale_s[part] = HELD_S
    return state
