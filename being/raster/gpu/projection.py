"""Splats in camera space to ellipses on screen, and those front to back.

The plain twin is `being.raster.reference.project`. One record of twelve numbers a splat: centre x, y (px); conic xx,
xy, yy (1/px^2); opacity; red, green, blue; depth; ln(255 opacity), over which alpha is under 1/255; 0.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from being.raster.contract import JACOBIAN_MARGIN, MIN_ALPHA, NEAR_PLANE

TILE = 16  # px
RECORD = 12  # numbers

_BLOCK = 256  # splats of one program
_NEAR = tl.constexpr(NEAR_PLANE)
_MIN_ALPHA, _MARGIN, _TILE = tl.constexpr(MIN_ALPHA), tl.constexpr(JACOBIAN_MARGIN), tl.constexpr(TILE)
_SLACK = tl.constexpr(1e-3)  # px by which boxes are wider than they must be: rounding drops no pixel
_NEVER = tl.constexpr(0x7F800000)  # the bits of infinity: splats that are not drawn come last


def front_to_back(parts: tuple[Tensor, ...], cameras: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Project the splats of B pictures and sort each picture's by depth; ties stay in order.

    parts : means (B, N, 3), quats (B, N, 4), scales (B, N, 3), opacities (B, N), colours (B, N, 3), in camera space.
    cameras : (B, 6) fx fy cx cy and the filters of `scaled_low_pass`, whatever the step between them.

    Returns records (B, N, 12) and the tile rows (B, N) int32 that each reaches, first + 65536 past the last: 0 where it
    is not drawn.
    """
    count, length = parts[0].shape[:2]
    device = cameras.device
    # All pictures are sorted at once: the picture's number stands before the depth. A single one needs none.
    keys = torch.empty(count, length, dtype=torch.int32 if count == 1 else torch.int64, device=device)
    records = torch.empty(count, length, RECORD, device=device)
    rows = torch.empty(count, length, dtype=torch.int32, device=device)
    grid = (triton.cdiv(length, _BLOCK), count)
    _project[grid](*parts, cameras, records, rows, keys, width, height, length, cameras.stride(0), BLOCK=_BLOCK)
    order = torch.sort(keys.view(-1), stable=True).indices
    sorted_records, sorted_rows = torch.empty_like(records), torch.empty_like(rows)
    _permute[(triton.cdiv(count * length, _BLOCK),)](
        order, records, rows, sorted_records, sorted_rows, count * length, RECORD=RECORD, BLOCK=_BLOCK
    )
    return sorted_records, sorted_rows


@triton.jit(do_not_specialize=["width", "height", "length", "step"])
def _project(  # type: ignore[no-untyped-def]
    means, quats, scales, opacities, colours, cameras, records, rows, keys, width, height, length, step,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Program (i, b): the i-th block of splats of picture b."""
    picture = tl.program_id(1)
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = n < length
    at = picture.to(tl.int64) * length + n
    cameras += picture * step
    fx, fy = tl.load(cameras), tl.load(cameras + 1)
    cx, cy = tl.load(cameras + 2), tl.load(cameras + 3)
    low_pass, trained = tl.load(cameras + 4), tl.load(cameras + 5)
    opacity = tl.load(opacities + at, mask=there, other=0.0)
    there = there & (opacity >= _MIN_ALPHA)
    x = tl.load(means + 3 * at, mask=there, other=0.0)
    y = tl.load(means + 3 * at + 1, mask=there, other=0.0)
    depth = tl.load(means + 3 * at + 2, mask=there, other=0.0)
    there = there & (depth > _NEAR)
    z = tl.where(there, depth, 1.0)

    w = tl.load(quats + 4 * at, mask=there, other=1.0)
    i = tl.load(quats + 4 * at + 1, mask=there, other=0.0)
    j = tl.load(quats + 4 * at + 2, mask=there, other=0.0)
    k = tl.load(quats + 4 * at + 3, mask=there, other=0.0)
    length2 = w * w + i * i + j * j + k * k
    there = there & (length2 > 0)
    long = 1.0 / tl.sqrt(tl.where(there, length2, 1.0))
    w, i, j, k = w * long, i * long, j * long, k * long
    sx = tl.load(scales + 3 * at, mask=there, other=0.0)
    sy = tl.load(scales + 3 * at + 1, mask=there, other=0.0)
    sz = tl.load(scales + 3 * at + 2, mask=there, other=0.0)
    # Columns of R S.
    ax, ay, az = (1 - 2 * (j * j + k * k)) * sx, 2 * (i * j + w * k) * sx, 2 * (i * k - w * j) * sx
    bx, by, bz = 2 * (i * j - w * k) * sy, (1 - 2 * (i * i + k * k)) * sy, 2 * (j * k + w * i) * sy
    qx, qy, qz = 2 * (i * k + w * j) * sz, 2 * (j * k - w * i) * sz, (1 - 2 * (i * i + j * j)) * sz
    slope_x, slope_y = x / z, y / z
    margin_x, margin_y = _MARGIN * 0.5 * width / fx, _MARGIN * 0.5 * height / fy
    held_x = tl.minimum(tl.maximum(slope_x, -cx / fx - margin_x), (width - cx) / fx + margin_x)
    held_y = tl.minimum(tl.maximum(slope_y, -cy / fy - margin_y), (height - cy) / fy + margin_y)
    near_x, tilt_x, near_y, tilt_y = fx / z, -fx * held_x / z, fy / z, -fy * held_y / z
    h0, h1, h2 = near_x * ax + tilt_x * az, near_x * bx + tilt_x * bz, near_x * qx + tilt_x * qz
    v0, v1, v2 = near_y * ay + tilt_y * az, near_y * by + tilt_y * bz, near_y * qy + tilt_y * qz
    raw_xx, xy, raw_yy = h0 * h0 + h1 * h1 + h2 * h2, h0 * v0 + h1 * v1 + h2 * v2, v0 * v0 + v1 * v1 + v2 * v2
    xx, yy = raw_xx + low_pass, raw_yy + low_pass
    c0, c1, c2 = h1 * v2 - h2 * v1, h2 * v0 - h0 * v2, h0 * v1 - h1 * v0
    crossed, trace = c0 * c0 + c1 * c1 + c2 * c2, raw_xx + raw_yy
    determinant = crossed + low_pass * trace + low_pass * low_pass
    spread = tl.sqrt((crossed + trained * trace + trained * trained) / determinant)
    opacity = tl.where(trained == low_pass, opacity, opacity * spread)
    u, v = fx * slope_x + cx, fy * slope_y + cy

    most = tl.log(tl.maximum(opacity, _MIN_ALPHA) / _MIN_ALPHA)
    wide, tall = tl.sqrt(2 * most * xx) + _SLACK, tl.sqrt(2 * most * yy) + _SLACK
    left, right = tl.maximum(tl.ceil(u - wide - 0.5), 0.0), tl.minimum(tl.floor(u + wide - 0.5), width - 1.0)
    top, bottom = tl.maximum(tl.ceil(v - tall - 0.5), 0.0), tl.minimum(tl.floor(v + tall - 0.5), height - 1.0)
    bounded = tl.abs(yy / determinant) + tl.abs(xx / determinant) + tl.abs(xy / determinant) < float("inf")
    there = there & (left <= right) & (top <= bottom) & bounded

    first = tl.where(there, top, 0.0).to(tl.int32) // _TILE
    past = tl.where(there, bottom, 0.0).to(tl.int32) // _TILE + 1
    inside = n < length
    tl.store(rows + at, tl.where(there, first + 65536 * past, 0), mask=inside)
    bits = tl.where(there, z.to(tl.int32, bitcast=True), _NEVER)
    tl.store(keys + at, picture.to(tl.int64) * 4294967296 + bits, mask=inside)
    record = records + 12 * at
    tl.store(record, u, mask=there)
    tl.store(record + 1, v, mask=there)
    tl.store(record + 2, yy / determinant, mask=there)
    tl.store(record + 3, -xy / determinant, mask=there)
    tl.store(record + 4, xx / determinant, mask=there)
    tl.store(record + 5, opacity, mask=there)
    for channel in tl.static_range(3):
        tl.store(record + 6 + channel, tl.load(colours + 3 * at + channel, mask=there, other=0.0), mask=there)
    tl.store(record + 9, z, mask=there)
    tl.store(record + 10, most, mask=there)


@triton.jit(do_not_specialize=["count"])
def _permute(order, records, rows, records_out, rows_out, count, RECORD: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Program i: the i-th block of all pictures' splats, into their places front to back."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = at < count
    source = tl.load(order + at, mask=there, other=0)
    reached = tl.load(rows + source, mask=there, other=0)
    tl.store(rows_out + at, reached, mask=there)
    numbers = tl.arange(0, 16)
    drawn = (there & (reached != 0))[:, None] & (numbers < RECORD)[None]
    moved = tl.load(records + source[:, None] * RECORD + numbers[None], mask=drawn, other=0.0)
    tl.store(records_out + at[:, None] * RECORD + numbers[None], moved, mask=drawn)
