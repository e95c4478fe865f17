"""Which square of a frame is refined: the face box, padded, at the smallest size that holds it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from being.inference.frames import FaceBox

PADDING = 0.2  # of the face box's longer side, on each side: the face's rim, and room for the mask to fall off


@dataclass(frozen=True)
class Window:
    """A square of a frame: its left upper corner and side in whole pixels, and the side S of the crop made of it."""

    x: int
    y: int
    side: int
    size: int

    @property
    def resampled(self) -> bool:
        return self.side != self.size


def window_of(box: FaceBox, width: int, height: int, sizes: Sequence[int]) -> Window:
    """The window around a face box (x0, y0, x1, y1), inside a frame of `width` x `height`.

    Its side is one of `sizes`, so that nothing is resampled, wherever one of them holds the padded box and fits the
    frame. A face that is larger, or a frame that is smaller than the least of them, is resampled.
    """
    x0, y0, x1, y1 = box
    longer = max(x1 - x0, y1 - y0)
    room = min(width, height)
    needed = min(math.ceil(longer * (1 + 2 * PADDING)), room)
    size = next((size for size in sizes if size >= needed), sizes[-1])
    side = size if needed <= size <= room else needed
    return Window(_start((x0 + x1) / 2, side, width), _start((y0 + y1) / 2, side, height), side, size)


def _start(middle: float, side: int, length: int) -> int:
    """Where `side` pixels around `middle` begin, moved so that they lie inside `length`."""
    return min(max(round(middle - side / 2), 0), length - side)


def face_masks(
    boxes: Sequence[FaceBox], windows: Sequence[Window], padding: float = PADDING
) -> npt.NDArray[np.float32]:
    """How much of each crop is face, (N, 2, S) float32 by column and by row: their product is 1 inside the face box and
    falls off smoothly to 0 over the padding.
    """
    low, high, fall = mask_ends(boxes, windows, padding)
    at = np.arange(windows[0].size, dtype=np.float32) + np.float32(0.5)
    outside = np.maximum(low[..., None] - at, at - high[..., None])
    inside = np.clip(1 - outside / fall[:, None, None], 0, 1)
    return inside * inside * (3 - 2 * inside)


def mask_ends(
    boxes: Sequence[FaceBox], windows: Sequence[Window], padding: float = PADDING
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Left and upper ends of the boxes (N, 2), right and lower ends (N, 2), and over how much the masks fall off (N,),
    in pixels of the crops, float32."""
    box = np.array(boxes, np.float64).reshape(-1, 2, 2)  # ends by axes
    corner = np.array([(window.x, window.y) for window in windows], np.float64)
    scale = windows[0].size / np.array([window.side for window in windows], np.float64)
    low, high = ((scale[:, None] * (box[:, end] - corner)).astype(np.float32) for end in (0, 1))
    fall = np.maximum(padding * (box[:, 1] - box[:, 0]).max(1) * scale, 1.0).astype(np.float32)
    return low, high, fall
