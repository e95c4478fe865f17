"""Interlaced pictures as whole ones: FFmpeg's bwdif, a picture for each that was filmed, at its first field's time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import av

FieldOrder = Literal["tff", "bff"]  # the top or the bottom field was filmed first

TICK = Fraction(1, 1000)  # any will do: times travel beside the pictures
_FILTER, _DECLARED = "bwdif", "mode=send_frame:deint=interlaced"  # pictures that are whole already pass as they are
_FOUND = "mode=send_frame:deint=all:parity={order}"


class Deinterlacer:
    """Decoded frames in, the same number out, in order, one late.

    Film without interlaced pictures passes untouched: the filter is only set up when the first of them comes.
    `used` tells whether it was.

    Parameters
    ----------
    order : of the fields, where all pictures have them and do not say so.
    """

    def __init__(self, order: FieldOrder | None = None) -> None:
        self._order = order
        self._graph: Any = None
        self._layout: tuple[int, int, str] | None = None
        self._inside: deque[tuple[av.VideoFrame, float]] = deque()
        self._ticks = 0
        self.used = False

    def push(self, frame: av.VideoFrame, time: float) -> Iterator[tuple[av.VideoFrame, float]]:
        """Take a frame and its time in seconds; gives frames that are ready."""
        layout = frame.width, frame.height, frame.format.name
        if self._graph is not None and layout != self._layout:
            yield from self.flush()
        if self._graph is None:
            if not (frame.interlaced_frame or self._order):
                yield frame, time
                return
            self._graph, self._layout, self.used = _graph(frame, self._order), layout, True
        self._inside.append((frame, time))
        frame.pts, frame.time_base = self._ticks, TICK
        self._ticks += 1
        self._graph.push(frame)
        yield from self._ready()

    def flush(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """What is still inside."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()
        self._graph = None
        self._inside.clear()

    def _ready(self) -> Iterator[tuple[av.VideoFrame, float]]:
        import av

        while self._inside:
            try:
                whole = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            filmed, time = self._inside.popleft()
            whole.colorspace, whole.color_range = filmed.colorspace, filmed.color_range
            whole.color_trc, whole.color_primaries = filmed.color_trc, filmed.color_primaries
            yield whole, time


def _graph(frame: av.VideoFrame, order: FieldOrder | None) -> Any:
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=TICK)
    filter, sink = graph.add(_FILTER, _FOUND.format(order=order) if order else _DECLARED), graph.add("buffersink")
    source.link_to(filter)
    filter.link_to(sink)
    graph.configure()
    return graph
