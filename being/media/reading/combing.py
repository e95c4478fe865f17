"""Interlaced pictures that the file does not declare, found on the pictures themselves by FFmpeg's idet.

Film that was copied without being deinterlaced is often marked as progressive; what moves in it has combs. A sample is
looked at: RUNS stretches from key frames on, spread over the film. idet says of each picture which field is the older
one, or that it is progressive, or that nothing moves enough to tell. Only film of which half the sample agrees and
next to nothing speaks against it counts as interlaced: a comb in one place may be a fine pattern.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from being.media.reading.film_index import REMEDY, FilmIndex
from being.media.reading.input_container import open_container, read_packets
from being.media.reading.interlace import TICK, FieldOrder

if TYPE_CHECKING:
    import av

MOST_LINES = 1088  # no format has fields in pictures of more
MOST_RATE = 31.0  # pictures a second: fields come 50 or 60 a second
SAMPLE, RUNS, GROUP = 120, 10, 12  # pictures looked at, in how many places, and how many of them have one vote
VOICES, AGREE = 3, 0.8  # of a group: pictures that say the same, and their share among those that say anything
FOR, AGAINST = 0.5, 0.1  # share of votes that film needs to count as interlaced, and that may say otherwise

_SAID = "lavfi.idet.single.current_frame"
_ORDERS: dict[str, FieldOrder] = {"tff": "tff", "bff": "bff"}


def undeclared_fields(
    path: Path, index: FilmIndex, first: av.VideoFrame, start_s: float, end_s: float
) -> FieldOrder | None:
    """Which field of film that says it is progressive comes first; None where it is progressive, or says what it is.

    Parameters
    ----------
    first : any picture of it. start_s, end_s : the part that will be read, seconds on the clock.
    """
    stamps = index.stamps
    rate = (len(stamps) - 1) / max(float(np.ptp(stamps)), 1e-3)
    if first.interlaced_frame or first.height > MOST_LINES or rate > MOST_RATE:
        return None
    inside = index.keys & (index.shown_s >= start_s) & (index.shown_s <= end_s)
    keys = index.shown_s[inside] if inside.any() else np.array([start_s])
    chosen = keys[np.unique(np.linspace(0, len(keys) - 1, RUNS).round().astype(int))]
    votes: Counter[str | None] = Counter()
    for key in chosen:
        run = islice(_pictures(path, index, float(key)), SAMPLE // len(chosen))
        said = list(_said(run))
        if None in said:
            return None
        votes.update(_vote(said[i : i + GROUP]) for i in range(0, len(said), GROUP))
    leading = max(_ORDERS, key=lambda order: votes[order])
    against = votes["progressive"] + sum(votes[order] for order in _ORDERS if order != leading)
    if votes[leading] < max(1, FOR * votes.total()) or against > AGAINST * votes.total():
        return None
    return _ORDERS[leading]


def _vote(said: list[str | None]) -> str | None:
    """What a group of pictures says; None: too little."""
    counts = Counter(word for word in said if word != "undetermined")
    if not counts:
        return None
    word, many = counts.most_common(1)[0]
    return word if many >= min(VOICES, len(said)) and many >= AGREE * counts.total() else None


def _said(pictures: Iterator[av.VideoFrame]) -> Iterator[str | None]:
    """Of pictures in a row: "tff", "bff", "progressive" or "undetermined"; None where one says what it is."""
    import av
    from av.video.reformatter import VideoReformatter

    convert, graph = VideoReformatter(), None  # kept: a frame's own starts a thread for each core every time
    for number, picture in enumerate(pictures):
        if picture.interlaced_frame:
            yield None
            return
        grey = convert.reformat(picture, format="gray")
        grey.pts, grey.time_base = number, TICK
        if graph is None:
            graph = _graph(grey)
        graph.push(grey)
        try:
            yield graph.pull().metadata[_SAID]
        except (av.error.BlockingIOError, av.error.EOFError):
            continue


def _graph(grey: av.VideoFrame) -> Any:
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(width=grey.width, height=grey.height, format=grey.format, time_base=TICK)
    graph.link_nodes(source, graph.add("idet"), graph.add("buffersink")).configure()
    return graph


def _pictures(path: Path, index: FilmIndex, key_s: float) -> Iterator[av.VideoFrame]:
    """Those of one size from the key frame at `key_s` on, as far as they can be decoded."""
    import av

    size = None
    with open_container(path, REMEDY) as container:
        stream: Any = container.streams[index.stream]
        stream.thread_type = "AUTO"
        try:
            container.seek(round(key_s / stream.time_base), stream=stream)
            for packet in read_packets(container, [stream]):
                for picture in packet.decode():
                    if size not in (None, (picture.width, picture.height)):
                        return
                    size = picture.width, picture.height
                    yield picture
        except (av.error.FFmpegError, ValueError):
            return
