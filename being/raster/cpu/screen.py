"""Splats on the screen, sixteen at a time: what `forward.project` computes, for pictures of eight bits.

A record holds all that listing and blending read of a splat. Powers are a quarter of the octaves that `forward`
uses, for blending takes 2^p as (2^(p/4))^4.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from being.raster.contract import JACOBIAN_MARGIN, MIN_ALPHA, NEAR_PLANE, scaled_low_pass
from being.raster.cpu.jit import ceiling, floor
from being.raster.cpu.simd import WIDTH, broadcast, fill, fma, log2, maximum, minimum, root, store

F = np.float32

RECORD = 16  # floats of a splat: one cache line
CENTER_X, CENTER_Y, POWER_XX, POWER_XY, POWER_YY, POWER, RED, GREEN, BLUE = range(9)
# Its outline, where alpha is 1/255: dy = SHEAR dx +- sqrt(HEIGHT - FALL dx^2) from the centre, lowest at dx = LOWEST_X.
HALF_WIDTH, HALF_HEIGHT, SHEAR, HEIGHT, FALL, LOWEST_X, OPACITY = range(9, 16)
STAGED = RECORD + 1  # rows of the staging buffer: a record and the depth
NOT_DRAWN = F(3e38)  # depth of a splat that is not drawn
FARTHEST = F(1e7)  # pixels; what is larger or farther off is broken

LOG2E = math.log2(math.e)
MIN_POWER = F(math.log2(MIN_ALPHA) / 4)
# A splat's rows are listed for slightly more than 255 opacity: rounding may add a row, but never lose one.
_MORE, _AND_MORE = F(1.0005), F(1.4e-4)
_REACH = F(8 / LOG2E)  # 2 ln(255 opacity) from a quarter of the octaves above 1/255
_TO_POWER = F(LOG2E / 8)

CAMERA = 12  # floats of a camera: see `camera_array`


def camera_array(
    intrinsics: np.ndarray, width: int, height: int, low_pass: tuple[float, float] = scaled_low_pass(1.0)
) -> np.ndarray:
    """fx, fy, cx, cy, slopes at which the Jacobian is held (left, right, top, bottom), width, height, `low_pass`."""
    fx, fy, cx, cy = (float(value) for value in intrinsics)
    margin_x, margin_y = 0.5 * JACOBIAN_MARGIN * width / fx, 0.5 * JACOBIAN_MARGIN * height / fy
    left, right = -cx / fx - margin_x, (width - cx) / fx + margin_x
    top, bottom = -cy / fy - margin_y, (height - cy) / fy + margin_y
    return np.array([fx, fy, cx, cy, left, right, top, bottom, width, height, *low_pass], np.float32)


@njit(inline="always", error_model="numpy")
def _clamped(value, camera, low):  # type: ignore[no-untyped-def]
    return minimum(maximum(value, broadcast(camera, low)), broadcast(camera, low + 1))


@njit(inline="always", error_model="numpy")
def project_lanes(camera, x, y, z, qw, qx, qy, qz, s0, s1, s2, opacity, red, green, blue, staging):  # type: ignore[no-untyped-def]
    """Stage the records and depths of sixteen splats in camera space; quaternions of length 1."""
    one, two = fill(F(1)), fill(F(2))
    inverse_z = one / z
    slope_x, slope_y = x * inverse_z, y * inverse_z
    fx, fy = broadcast(camera, 0) * inverse_z, broadcast(camera, 1) * inverse_z
    store(staging, CENTER_X * WIDTH, fma(broadcast(camera, 0), slope_x, broadcast(camera, 2)))
    store(staging, CENTER_Y * WIDTH, fma(broadcast(camera, 1), slope_y, broadcast(camera, 3)))
    # Rows of the Jacobian: (fx, 0, -fx slope_x) and (0, fy, -fy slope_y), over z.
    slope_x, slope_y = _clamped(slope_x, camera, 4), _clamped(slope_y, camera, 6)
    x2, y2, z2 = qx * two, qy * two, qz * two
    xx, yy, zz = qx * x2, qy * y2, qz * z2
    xy, xz, yz = qx * y2, qx * z2, qy * z2
    wx, wy, wz = qw * x2, qw * y2, qw * z2
    r20, r21, r22 = xz - wy, yz + wx, one - (xx + yy)
    h0 = fx * s0 * ((one - (yy + zz)) - slope_x * r20)
    h1 = fx * s1 * ((xy - wz) - slope_x * r21)
    h2 = fx * s2 * ((xz + wy) - slope_x * r22)
    v0 = fy * s0 * ((xy + wz) - slope_y * r20)
    v1 = fy * s1 * ((one - (xx + zz)) - slope_y * r21)
    v2 = fy * s2 * ((yz - wx) - slope_y * r22)
    raw_xx = fma(h0, h0, fma(h1, h1, h2 * h2))
    raw_yy = fma(v0, v0, fma(v1, v1, v2 * v2))
    across = fma(h0, v0, fma(h1, v1, h2 * v2))
    low_pass, trained = broadcast(camera, 10), broadcast(camera, 11)
    # |h x v|^2 + s trace + s^2 loses no digits on thin splats, where xx yy - xy^2 would.
    c0, c1, c2 = h1 * v2 - h2 * v1, h2 * v0 - h0 * v2, h0 * v1 - h1 * v0
    determinant = fma(c0, c0, fma(c1, c1, fma(c2, c2, low_pass * (raw_xx + raw_yy + low_pass))))
    before = fma(c0, c0, fma(c1, c1, fma(c2, c2, trained * (raw_xx + raw_yy + trained))))
    opacity = opacity * root(before / determinant)  # unchanged where both filters are one
    var_x, var_y = raw_xx + low_pass, raw_yy + low_pass

    power = log2(opacity) * fill(F(0.25))
    reach = maximum(power - fill(MIN_POWER), fill(F(0))) * fill(_REACH)
    reach = fma(reach, fill(_MORE), fill(_AND_MORE))
    to_power = fill(_TO_POWER) / determinant
    zero = fill(F(0))
    store(staging, POWER_XX * WIDTH, zero - var_y * to_power)
    store(staging, POWER_XY * WIDTH, two * across * to_power)
    store(staging, POWER_YY * WIDTH, zero - var_x * to_power)
    store(staging, POWER * WIDTH, power)
    store(staging, RED * WIDTH, red)
    store(staging, GREEN * WIDTH, green)
    store(staging, BLUE * WIDTH, blue)
    store(staging, HALF_WIDTH * WIDTH, root(reach * var_x))
    half_height = root(reach * var_y)
    store(staging, HALF_HEIGHT * WIDTH, half_height)
    inverse = one / var_x
    store(staging, SHEAR * WIDTH, across * inverse)
    store(staging, HEIGHT * WIDTH, reach * determinant * inverse)
    store(staging, FALL * WIDTH, determinant * inverse * inverse)
    store(staging, LOWEST_X * WIDTH, across * half_height / var_y)
    store(staging, OPACITY * WIDTH, opacity)
    store(staging, RECORD * WIDTH, z)


@njit(inline="always", error_model="numpy")
def keep_lane(staging, lane, width, height, n, records, depths, rows):  # type: ignore[no-untyped-def]
    """Write splat n from a lane of the staging buffer: its record, depth (or NOT_DRAWN) and rows (first, last)."""
    depths[n] = NOT_DRAWN
    z, opacity = staging[RECORD * WIDTH + lane], staging[OPACITY * WIDTH + lane]
    u, v = staging[CENTER_X * WIDTH + lane], staging[CENTER_Y * WIDTH + lane]
    half_width, half_height = staging[HALF_WIDTH * WIDTH + lane], staging[HALF_HEIGHT * WIDTH + lane]
    color = staging[RED * WIDTH + lane] + staging[GREEN * WIDTH + lane] + staging[BLUE * WIDTH + lane]
    # Written so that NaN fails every test.
    if not (z > F(NEAR_PLANE) and z < F(1e30) and opacity >= F(MIN_ALPHA) and color < F(1e30)):
        return
    if not (abs(u) < FARTHEST and abs(v) < FARTHEST and half_width < FARTHEST and half_height < FARTHEST):
        return
    first_column, last_column = ceiling(u - half_width - F(0.5)), floor(u + half_width - F(0.5))
    first_row = max(ceiling(v - half_height - F(0.5)), 0)
    last_row = min(floor(v + half_height - F(0.5)), height - 1)
    if max(first_column, 0) > min(last_column, width - 1) or first_row > last_row:
        return
    depths[n] = z
    rows[2 * n], rows[2 * n + 1] = first_row, last_row
    for k in range(RECORD):
        records[n * RECORD + k] = staging[k * WIDTH + lane]
