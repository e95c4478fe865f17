"""Where the parts of a head are to be expected, by the face mesh: a ruler on the face, its hull, the jaw.

The reference has its origin between the top of the forehead and the chin, `v` down the face and `u` across it, both in
units of the face's length; so v = 0.5 is the chin and |u| about 0.4 the ears, at any size and tilt of the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

# Indices into the 478 points of the face mesh.
FOREHEAD, CHIN = 10, 152
# fmt: off
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)
JAW = (58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288)  # corner to corner along the chin
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
# fmt: on
UPPER_INNER_LIP, LOWER_INNER_LIP = 13, 14
SUBPIXEL_BITS = 4  # polygons are drawn at 1/16 pixel


def fill_polygon(points: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """A polygon (N, 2) in pixels (centres at .5) as a mask of 0 and 1 (H, W)."""
    mask = np.zeros(shape, np.uint8)
    fixed = np.round((np.asarray(points, np.float64) - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 1, shift=SUBPIXEL_BITS)
    return mask


@dataclass(frozen=True)
class FaceRegions:
    """The face of one frame in an image of `shape` (H, W); `points` (478, >= 2) in its pixels."""

    points: NDArray[np.float32]
    shape: tuple[int, int]

    @cached_property
    def _axes(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], float]:
        """Origin, direction across, direction down, length in pixels."""
        top, chin = self.points[FOREHEAD, :2], self.points[CHIN, :2]
        length = max(float(np.linalg.norm(chin - top)), 1.0)
        down = (chin - top) / length
        return (top + chin) / 2, np.array([down[1], -down[0]], np.float32), down, length

    @property
    def length(self) -> float:
        """From the top of the forehead to the chin, pixels."""
        return self._axes[3]

    @cached_property
    def _uv(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        origin, across, down, length = self._axes
        x = np.arange(self.shape[1], dtype=np.float32)[None] + np.float32(0.5 - origin[0])
        y = np.arange(self.shape[0], dtype=np.float32)[:, None] + np.float32(0.5 - origin[1])
        return (
            (x * (across[0] / length) + y * (across[1] / length)).astype(np.float32),
            (x * (down[0] / length) + y * (down[1] / length)).astype(np.float32),
        )

    @property
    def across(self) -> NDArray[np.float32]:
        """u of every pixel (H, W)."""
        return self._uv[0]

    @property
    def down(self) -> NDArray[np.float32]:
        """v of every pixel (H, W)."""
        return self._uv[1]

    @cached_property
    def hull(self) -> NDArray[np.uint8]:
        """1 inside the oval of the face (H, W)."""
        return fill_polygon(self.points[list(FACE_OVAL), :2], self.shape)

    @cached_property
    def below_jaw(self) -> NDArray[np.float32]:
        """How far every pixel lies below the jaw line, in face lengths (H, W); negative above it."""
        origin, across, down, length = self._axes
        jaw = (self.points[list(JAW), :2] - origin) / length
        u, v = jaw @ across, jaw @ down
        order = np.argsort(u)
        table = np.interp(np.linspace(-1, 1, JAW_STEPS), u[order], v[order]).astype(np.float32)
        index = np.clip((self.across + 1) * ((JAW_STEPS - 1) / 2), 0, JAW_STEPS - 1).astype(np.int32)
        return self.down - table[index]

    def head_box(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 of a box with the whole head, its hair and some neck, cut to the image."""
        oval = self.points[list(FACE_OVAL), :2]
        (x, y), reach = oval.mean(0), max(float(np.ptp(oval[:, 1])), 4.0) * HEAD_REACH
        height, width = self.shape
        x0, x1 = (int(np.clip(value, 0, width)) for value in (x - reach, x + reach))
        y0, y1 = (int(np.clip(value, 0, height)) for value in (y - 1.1 * reach, y + 1.1 * reach))
        return x0, y0, x1, y1


JAW_STEPS = 512  # entries of the table v(u) over u = -1..1
HEAD_REACH = 1.35  # half the head box, in heights of the face oval
