"""RGB to the YUV 4:2:0 planes encoders want, in one pass.

Limited range (Y 16..235, chroma 16..240); chroma is sited as H.264 and VP9 assume by default: level with the left of
each pair of columns, midway between each pair of rows, so it is filtered [1 2 1]/4 across and averaged down. The caller
tags its stream with the matrix it asked for: BT.709 unless told otherwise.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from being.errors import InputError
from being.raster.cpu.jit import CHECKED_MATH, kernel

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


def yuv_weights(matrix: Matrix = "bt709") -> npt.NDArray[np.float32]:
    """(3, 4) weights of R, G, B (0..255) and 1 in Y, U, V, limited range."""
    weights = _coefficients(matrix).astype(np.float32) / (1 << _BITS)
    return np.concatenate([weights, np.array([[16], [128], [128]], np.float32)], axis=1)


def _coefficients(matrix: Matrix) -> npt.NDArray[np.int32]:
    """(3, 3) fixed-point rows of Y, U, V over R, G, B, limited range."""
    red, blue = _LUMA_WEIGHTS[matrix]
    luma = np.array([red, 1 - red - blue, blue])
    u = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    v = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    scaled = np.stack([luma * 219 / 255, u * 224 / 255, v * 224 / 255])
    return np.round(scaled * (1 << _BITS)).astype(np.int32)


@kernel(CHECKED_MATH)
def _convert(rgb, coefficients, luma, u, v):  # type: ignore[no-untyped-def]
    height, width = luma.shape
    half = np.int32(1 << (_BITS - 1))
    luma_base, chroma_base = np.int32(16 << _BITS) + half, np.int32(128 << _BITS) + half
    yr, yg, yb = coefficients[0]
    ur, ug, ub = coefficients[1]
    vr, vg, vb = coefficients[2]
    flat = rgb.reshape(-1)
    one, two, three = (
        np.uint64(1),
        np.uint64(2),
        np.uint64(3),
    )  # unsigned indices: numba does not look for negative ones
    # Sums of two rows of red, green and blue, with the first column once more at the left.
    sums = np.empty((3, width + 1), np.int32)
    for pair in range(height // 2):
        for lower in range(2):
            start, row = np.uint64((2 * pair + lower) * width * 3), luma[2 * pair + lower]
            for x in range(np.uint64(width)):
                at = start + three * x
                r, g, b = np.int32(flat[at]), np.int32(flat[at + one]), np.int32(flat[at + two])
                row[x] = np.uint8((yr * r + yg * g + yb * b + luma_base) >> np.int32(_BITS))
                if lower == 0:
                    sums[0, x + one], sums[1, x + one], sums[2, x + one] = r, g, b
                else:
                    sums[0, x + one] += r
                    sums[1, x + one] += g
                    sums[2, x + one] += b
        for channel in range(3):
            sums[channel, 0] = sums[channel, 1]
        row_u, row_v = u[pair], v[pair]
        for i in range(np.uint64(width // 2)):
            x = two * i
            # (1 + 2 + 1) across and 2 down weigh 8; one bit of that stays for the matrix to round.
            r = (sums[0, x] + 2 * sums[0, x + one] + sums[0, x + two] + 2) >> 2
            g = (sums[1, x] + 2 * sums[1, x + one] + sums[1, x + two] + 2) >> 2
            b = (sums[2, x] + 2 * sums[2, x + one] + sums[2, x + two] + 2) >> 2
            row_u[i] = np.uint8((((ur * r + ug * g + ub * b) >> np.int32(1)) + chroma_base) >> np.int32(_BITS))
            row_v[i] = np.uint8((((vr * r + vg * g + vb * b) >> np.int32(1)) + chroma_base) >> np.int32(_BITS))
