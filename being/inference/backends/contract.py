"""What a device must be able to do: make an avatar ready, draw frames of one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from being.inference.frame_batch import FrameBatch
from being.inference.frames import PixelFormat
from being.inference.items import RenderItem
from being.inference.renderable import RenderableAvatar


class RenderBackend(Protocol):
    """Draws on one device. Safe to call from several threads.

    Attributes
    ----------
    max_items : frames of one call; more at once gain nothing and take memory.
    batch_sizes : numbers of frames to draw once before any frame is waited for: each may be code or a graph of its own.
    """

    max_items: int
    batch_sizes: Sequence[int]

    def prepare(self, renderable: RenderableAvatar) -> None:
        """Fit or pack what the avatar's first frames would otherwise pay for."""
        ...

    def render(self, items: Sequence[RenderItem], pixel_format: PixelFormat | None = None) -> FrameBatch:
        """Draw items of one size, those of one avatar next to each other; all want depth, or none does.

        pixel_format : RGB or YUV420 to get bytes, by a fused kernel where there is one; None where stages follow, for
            the form that the device draws fastest.
        """
        ...
