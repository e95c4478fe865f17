"""A renderer's answer: the frames of a tick, what drawing them took, and how busy it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from being.inference.rendered import RenderedFrames


@dataclass(frozen=True)
class RendererLoad:
    """How much a renderer has to do.

    busy : share of the last second or so that it was drawing live frames, 0 to 1; None where it is not known any more.
    waiting : live frames that wait to be drawn. batch : those it draws at a time lately.
    renderer : its name, another one after each start.
    """

    busy: float | None = 0.0
    waiting: int = 0
    batch: float = 0.0
    renderer: str = ""


@dataclass(frozen=True)
class RenderedBatch:
    """A caller's frames, the seconds of drawing they stand for (its share of the batch), and the renderer's load."""

    frames: RenderedFrames
    seconds: float
    load: RendererLoad = RendererLoad()


Answer = Callable[[RenderedBatch | Exception], None]
"""Takes what came of a tick, once, on any thread; it must not take long."""
