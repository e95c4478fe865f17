"""Values that follow the edges of a picture (He, Sun and Tang 2013), and their enlargement (He and Sun 2015).

Around every pixel the values are fitted as a line in the picture's colour; lines are averaged, then evaluated at the
pixel's own colour. Enlarging means evaluating lines of a small picture at the brightness of the large one.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from being.raster.cpu.jit import FINITE_MATH, kernel

Values = NDArray[np.float32]  # (h, w, 4)

UNDECIDED = 255
SURE_REACH = 7  # pixels a side of the neighbourhood that must agree for the winner to be sure


def follow_edges(values: Values, picture: NDArray[np.uint8], radius: int, softness: float) -> Values:
    """`values` (h, w, 4) smoothed within `radius` pixels, except across the edges of RGB `picture` (h, w, 3).

    `softness` is the colour deviation, grey levels, below which a variation is no edge. Results stay in [0, 1].
    """
    # Lines are fitted at half size: the same to the eye, at less than half the time.
    filtered = cv2.ximgproc.guidedFilter(picture, values, radius, softness * softness, None, -1, 0.5)
    return np.clip(filtered, 0, 1)


def enlarged_winner(
    values: Values, small: NDArray[np.uint8], large: NDArray[np.uint8], radius: int, softness: float
) -> NDArray[np.uint8]:
    """Which of the four values is largest at every pixel of gray `large` (H, W), given them at gray `small` (h, w)."""
    box = (2 * radius + 1,) * 2
    gray = small.astype(np.float32)
    mean = cv2.blur(gray, box)
    variance = cv2.blur(gray * gray, box) - mean * mean + np.float32(softness * softness)
    mean_values = cv2.blur(values, box)
    slope = (cv2.blur(values * gray[..., None], box) - mean_values * mean[..., None]) / variance[..., None]
    offset = mean_values - slope * mean[..., None]
    winner = values.argmax(-1).astype(np.uint8)
    around = np.ones((SURE_REACH, SURE_REACH), np.uint8)
    winner[cv2.erode(winner, around) != cv2.dilate(winner, around)] = UNDECIDED
    out = np.empty(large.shape, np.uint8)
    _winner(winner, cv2.blur(slope, (3, 3)), cv2.blur(offset, (3, 3)), large, out)
    return out


@kernel(FINITE_MATH)
def _winner(sure, slope, offset, large, out):  # type: ignore[no-untyped-def]
    """Lines are read between the small pixels, centres aligned; only where the small winner is not sure already."""
    height, width = large.shape
    rows, columns = sure.shape
    for y in range(height):
        at_y = min(max((y + 0.5) * rows / height - 0.5, 0.0), rows - 1.0)
        top = min(int(at_y), max(rows - 2, 0))
        bottom = min(top + 1, rows - 1)
        wy = np.float32(at_y - top)
        for x in range(width):
            at_x = min(max((x + 0.5) * columns / width - 0.5, 0.0), columns - 1.0)
            left = min(int(at_x), max(columns - 2, 0))
            if sure[top, left] != UNDECIDED:
                out[y, x] = sure[top, left]
                continue
            right = min(left + 1, columns - 1)
            wx = np.float32(at_x - left)
            gray = np.float32(large[y, x])
            best, winner = np.float32(-1e30), 0
            for k in range(4):
                upper = slope[top, left, k] * gray + offset[top, left, k]
                upper += wx * (slope[top, right, k] * gray + offset[top, right, k] - upper)
                lower = slope[bottom, left, k] * gray + offset[bottom, left, k]
                lower += wx * (slope[bottom, right, k] * gray + offset[bottom, right, k] - lower)
                value = upper + wy * (lower - upper)
                if value > best:
                    best, winner = value, k
            out[y, x] = winner
