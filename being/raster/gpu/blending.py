"""Ellipses front to back onto pixels: each row of tiles finds its splats, then each tile its own, and blends them.

The plain twin is `being.raster.reference`'s blend. No list depends on how many pairs of splat and tile there are, so
nothing waits for the GPU to count them, and a CUDA graph can hold all of it.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from being.raster.contract import MIN_ALPHA, MIN_TRANSMITTANCE
from being.raster.gpu.projection import RECORD, TILE

_ROW_BLOCK = 1024  # splats looked at together for a row of tiles
_CHUNK = 256  # splats of a row looked at together for a tile
_WARPS = 4  # of a tile; of 1, 2 and 4, and chunks of 128 to 1024, the fastest on an H100
_MIN_ALPHA, _LAST = tl.constexpr(MIN_ALPHA), tl.constexpr(MIN_TRANSMITTANCE)
_TILE, _RECORD = tl.constexpr(TILE), tl.constexpr(RECORD)


def blend(records: Tensor, rows: Tensor, rgb: Tensor, alpha: Tensor, far: Tensor | None) -> None:
    """Blend B pictures.

    records : (B, N, 12), rows : (B, N) int32, as `front_to_back` gives them.
    rgb, alpha, far : written, contiguous: premultiplied colours (B, H, W, 3), coverage (B, H, W), and, where it is
        wanted, depth weighed by coverage (B, H, W).
    """
    count, length = rows.shape
    height, width = alpha.shape[1:]
    across, down = triton.cdiv(width, TILE), triton.cdiv(height, TILE)
    lists = torch.empty(count, down, length, dtype=torch.int32, device=rows.device)
    counts = torch.empty(count, down, dtype=torch.int32, device=rows.device)
    _fill_rows[(down, count)](rows, lists, counts, length, BLOCK=_ROW_BLOCK)
    found = torch.empty(count, down * across, _CHUNK, dtype=torch.int32, device=rows.device)
    _blend[(down * across, count)](
        records, lists, counts, found, rgb, alpha, alpha if far is None else far, length, width, height, across, down,
        DEPTH=far is not None, CHUNK=_CHUNK, num_warps=_WARPS,
    )  # fmt: skip


@triton.jit(do_not_specialize=["length"])
def _fill_rows(rows, lists, counts, length, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Program (r, b): which splats of picture b reach the r-th row of tiles, front to back."""
    row, picture = tl.program_id(0), tl.program_id(1)
    rows += picture.to(tl.int64) * length
    own = picture * tl.num_programs(0) + row
    lists += own.to(tl.int64) * length
    found = 0
    for start in range(0, length, BLOCK):
        n = start + tl.arange(0, BLOCK)
        reached = tl.load(rows + n, mask=n < length, other=0)
        hit = (((reached & 65535) <= row) & (row < (reached >> 16))).to(tl.int32)
        place = found + tl.cumsum(hit, 0) - 1
        tl.store(lists + place, n, mask=hit != 0)
        found += tl.sum(hit, 0)
    tl.store(counts + own, found)


@triton.jit
def _between(value, low, high):  # type: ignore[no-untyped-def]
    return tl.minimum(tl.maximum(value, low), high)


@triton.jit
def _touches(record, there, left, top):  # type: ignore[no-untyped-def]
    """Whether a splat has alpha of 1/255 at any pixel centre between (left, top) and 15 px further.

    The exponent is convex: its least value over the box lies on the side next to the centre, across or down.
    """
    x, y = tl.load(record, mask=there, other=0.0), tl.load(record + 1, mask=there, other=0.0)
    xx, xy = tl.load(record + 2, mask=there, other=1.0), tl.load(record + 3, mask=there, other=0.0)
    yy, most = tl.load(record + 4, mask=there, other=1.0), tl.load(record + 10, mask=there, other=-1.0)
    x0, y0 = left - x, top - y
    x1, y1 = x0 + (_TILE - 1), y0 + (_TILE - 1)
    ex, ey = _between(0.0, x0, x1), _between(0.0, y0, y1)
    fy, fx = _between(-xy * ex / yy, y0, y1), _between(-xy * ey / xx, x0, x1)
    one = 0.5 * (xx * ex * ex + yy * fy * fy) + xy * ex * fy
    two = 0.5 * (xx * fx * fx + yy * ey * ey) + xy * fx * ey
    rounding = 1e-3 + 2e-6 * (xx * ex * ex + yy * ey * ey + xx * fx * fx + yy * fy * fy)
    return there & (tl.minimum(one, two) <= most + rounding)


@triton.jit(do_not_specialize=["length", "width", "height", "across", "down"])
def _blend(  # type: ignore[no-untyped-def]
    records, lists, counts, found, rgb, alpha_out, depth_out, length, width, height, across, down,
    DEPTH: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Program (t, b): the t-th tile of picture b."""
    tile, picture = tl.program_id(0), tl.program_id(1)
    row, column = tile // across, tile % across
    records += picture.to(tl.int64) * length * _RECORD
    lists += (picture * down + row).to(tl.int64) * length
    found += (picture * down * across + tile).to(tl.int64) * CHUNK
    entries = tl.load(counts + picture * down + row)
    pixel = tl.arange(0, _TILE * _TILE)
    px, py = column * _TILE + pixel % _TILE, row * _TILE + pixel // _TILE
    inside = (px < width) & (py < height)
    u, v = px.to(tl.float32) + 0.5, py.to(tl.float32) + 0.5
    left, top = (column * _TILE).to(tl.float32) + 0.5, (row * _TILE).to(tl.float32) + 0.5

    red, green, blue = tl.zeros_like(u), tl.zeros_like(u), tl.zeros_like(u)
    far = tl.zeros_like(u)
    through = tl.where(inside, 1.0, 0.0)  # transmittance
    open = tl.where(inside, 1, 0)  # 0 where nothing more is blended
    start = 0
    while start < entries:
        place = start + tl.arange(0, CHUNK)
        there = place < entries
        rank = tl.load(lists + place, mask=there, other=0)
        hit = _touches(records + rank * _RECORD, there, left, top).to(tl.int32)
        tl.store(found + tl.cumsum(hit, 0) - 1, rank, mask=hit != 0)
        hits = tl.sum(hit, 0)
        tl.debug_barrier()  # what other threads found
        for index in range(hits):
            record = records + tl.load(found + index) * _RECORD
            dx, dy = tl.load(record) - u, tl.load(record + 1) - v
            sigma = 0.5 * (tl.load(record + 2) * dx * dx + tl.load(record + 4) * dy * dy)
            sigma += tl.load(record + 3) * dx * dy
            alpha = tl.load(record + 5) * tl.exp(-sigma)
            shown = (sigma >= 0) & (alpha >= _MIN_ALPHA) & (open != 0)
            behind = through * (1.0 - alpha)
            last = shown & (behind <= _LAST)  # this splat is not blended, and none behind it
            open = tl.where(last, 0, open)
            shown = shown & (behind > _LAST)
            weight = tl.where(shown, alpha * through, 0.0)
            red += tl.load(record + 6) * weight
            green += tl.load(record + 7) * weight
            blue += tl.load(record + 8) * weight
            if DEPTH:
                far += tl.load(record + 9) * weight
            through = tl.where(shown, behind, through)
        tl.debug_barrier()  # before others are found there
        start += CHUNK
        entries = tl.where(tl.max(open, 0) != 0, entries, 0)

    at = picture.to(tl.int64) * height * width + py * width + px
    tl.store(rgb + 3 * at, red, mask=inside)
    tl.store(rgb + 3 * at + 1, green, mask=inside)
    tl.store(rgb + 3 * at + 2, blue, mask=inside)
    tl.store(alpha_out + at, 1.0 - through, mask=inside)
    if DEPTH:
        tl.store(depth_out + at, far, mask=inside)
