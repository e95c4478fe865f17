"""RGB to the YUV 4:2:0 planes encoders want, in one pass.

Limited range (Y 16..235, chroma 16..240); chroma is sited as H.264 and VP9 assume by default: level with the left of
each pair of columns, midway between each pair of rows, so it is filtered [1 2 1]/4 across and averaged down. The caller
tags its stream with the matrix it asked for: BT.709 unless told otherwise.
"""

from __future__ import annotations

from typing import Literal

import numba
import numpy as np
import numpy.typing as npt

from being.errors import InputError

Matrix = Literal["bt709", "bt601"]

# Weights of red and blue in luma (ITU-R BT.709-6 item 3.2, BT.601-7 item 2.5.1).
_LUMA_WEIGHTS = {"bt709": (0.2126, 0.0722), "bt601": (0.299, 0.114)}
_BITS = 14  # fixed point of the integer coefficients; the sums stay below 2^31


def rgb_to_yuv420(rgb: npt.NDArray[np.uint8], matrix: Matrix = "bt709") -> npt.NDArray[np.uint8]:
    """Planar 4:2:0 of an even-sized picture.

    rgb: (H, W, 3). Returns (H * 3 / 2, W): the Y plane, then U, then V, each (H / 2, W / 2), packed without gaps (I420;
    what `av.VideoFrame.from_ndarray(..., format="yuv420p")` takes).

    Raises
    ------
    InputError
        Where the width or height is odd.
    """
    height, width = rgb.shape[:2]
    if height % 2 or width % 2:
        raise InputError(f"a {width}x{height} picture has no 4:2:0 planes", "Use an even width and height")
    planes = np.empty((height * 3 // 2, width), np.uint8)
    flat = planes.reshape(-1)
    luma_size, chroma_size = height * width, height * width // 4
    _convert(
        np.ascontiguousarray(rgb),
        _coefficients(matrix),
        planes[:height],
        flat[luma_size : luma_size + chroma_size].reshape(height // 2, width // 2),
        flat[luma_size + chroma_size :].reshape(height // 2, width // 2),
    )
    return planes


def _coefficients(matrix: Matrix) -> npt.NDArray[np.int32]:
    """(3, 3) fixed-point rows of Y, U, V over R, G, B, limited range."""
    red, blue = _LUMA_WEIGHTS[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    u = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    v = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    scaled = np.stack([luma * 219 / 255, u * 224 / 255, v * 224 / 255])
    return np.round(scaled * (1 << _BITS)).astype(np.int32)


@numba.njit(nogil=True, cache=True)
def _convert(rgb, coefficients, luma, u, v):  # type: ignore[no-untyped-def]
    height, width = luma.shape
    yr, yg, yb = coefficients[0]
    ur, ug, ub = coefficients[1]
    vr, vg, vb = coefficients[2]
    half = np.int32(1 << (_BITS - 1))
    luma_base = np.int32(16 << _BITS) + half
    # Chroma sums carry 8 times the weight of one pixel: (1 + 2 + 1) across, 2 rows down.
    chroma_base = np.int32(128 << _BITS) + half
    column = np.empty((width, 3), np.int32)
    for row in range(height // 2):
        top, bottom = rgb[2 * row], rgb[2 * row + 1]
        luma_top, luma_bottom = luma[2 * row], luma[2 * row + 1]
        for x in range(width):
            r, g, b = np.int32(top[x, 0]), np.int32(top[x, 1]), np.int32(top[x, 2])
            luma_top[x] = (yr * r + yg * g + yb * b + luma_base) >> _BITS
            s, t, w = np.int32(bottom[x, 0]), np.int32(bottom[x, 1]), np.int32(bottom[x, 2])
            luma_bottom[x] = (yr * s + yg * t + yb * w + luma_base) >> _BITS
            column[x, 0], column[x, 1], column[x, 2] = r + s, g + t, b + w
        for i in range(width // 2):
            x = 2 * i
            left = x - 1 if i else 0
            r = (column[left, 0] + 2 * column[x, 0] + column[x + 1, 0]) >> 1
            g = (column[left, 1] + 2 * column[x, 1] + column[x + 1, 1]) >> 1
            b = (column[left, 2] + 2 * column[x, 2] + column[x + 1, 2]) >> 1
            u[row, i] = ((ur * r + ug * g + ub * b) // 4 + chroma_base) >> _BITS
            v[row, i] = ((vr * r + vg * g + vb * b) // 4 + chroma_base) >> _BITS
