"""Normalizations, with the sums that they read."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from being.refine.streamdiffusion.twins import Norm

TILE = 8192  # numbers that a program holds at a time
PROGRAMS = 512  # enough to fill a GPU with
SPLITS = 64  # of a picture's pixels, at most


@triton.jit
def _summed(
    a, r, b, s, base, rows, columns, mask, inside,
    C1: tl.constexpr, C2: tl.constexpr, HAS_R: tl.constexpr, HAS_B: tl.constexpr, HAS_S: tl.constexpr,
):  # fmt: skip
    """[a + r + b, s] at these pixels and channels, float32; b at `columns` of its row."""
    first = mask & (columns < C1)[None, :] if HAS_S else mask
    at = (base + rows)[:, None] * C1 + columns[None, :]
    value = tl.load(a + at, mask=first, other=0).to(tl.float32)
    if HAS_R:
        value += tl.load(r + at, mask=first, other=0).to(tl.float32)
    if HAS_B:
        own = inside & (columns < C1) if HAS_S else inside
        value += tl.load(b + columns, mask=own, other=0).to(tl.float32)[None, :]
    if HAS_S:
        second = mask & (columns >= C1)[None, :]
        value += tl.load(s + (base + rows)[:, None] * C2 + (columns - C1)[None, :], mask=second, other=0).to(tl.float32)
    return tl.where(mask, value, 0.0)


@triton.jit
def _group_norm(
    a, r, b, s, x, y, weight, shift, eps, bias_stride, pixels,
    C1: tl.constexpr, C2: tl.constexpr, PER_GROUP: tl.constexpr, GROUPS: tl.constexpr,
    HAS_R: tl.constexpr, HAS_B: tl.constexpr, HAS_S: tl.constexpr, KEEP: tl.constexpr, SILU: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """One program a picture and group, all of whose pixels it holds."""
    picture = tl.program_id(0) // GROUPS
    lanes = tl.arange(0, BC)
    inside = lanes < PER_GROUP
    columns = tl.program_id(0) % GROUPS * PER_GROUP + lanes
    base = picture * pixels
    scale = tl.load(weight + columns, mask=inside, other=0).to(tl.float32)
    offset = tl.load(shift + columns, mask=inside, other=0).to(tl.float32)
    rows = tl.arange(0, BP)
    mask = (rows < pixels)[:, None] & inside[None, :]
    value = _summed(
        a, r, b + picture * bias_stride, s, base, rows, columns, mask, inside, C1, C2, HAS_R, HAS_B, HAS_S
    )  # fmt: skip
    count = pixels * PER_GROUP
    centred = tl.where(mask, value - tl.sum(value) / count, 0.0)
    rstd = 1 / tl.sqrt_rn(tl.sum(centred * centred) / count + eps)
    at = (base + rows)[:, None] * (C1 + C2) + columns[None, :]
    if KEEP:
        tl.store(x + at, value, mask=mask)
    out = centred * (rstd * scale)[None, :] + offset[None, :]
    if SILU:
        out = out * tl.sigmoid(out)
    tl.store(y + at, out, mask=mask)


@triton.jit(do_not_specialize=["per_split"])
def _group_sums(
    a, r, b, s, x, sums, bias_stride, pixels, per_split,
    C1: tl.constexpr, C2: tl.constexpr, PER_GROUP: tl.constexpr, GROUPS: tl.constexpr,
    TOGETHER: tl.constexpr, HAS_R: tl.constexpr, HAS_B: tl.constexpr, HAS_S: tl.constexpr,
    KEEP: tl.constexpr, BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Sums and squares of `TOGETHER` groups over `per_split` pixels into (picture, split, group, 2)."""
    picture, block, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    lanes = tl.arange(0, BC)
    inside = lanes < TOGETHER * PER_GROUP
    columns = block * (TOGETHER * PER_GROUP) + lanes
    base = picture * pixels
    total = tl.zeros([BC], tl.float32)
    squares = tl.zeros([BC], tl.float32)
    for start in range(0, per_split, BP):
        rows = split * per_split + start + tl.arange(0, BP)
        mask = (rows < pixels)[:, None] & inside[None, :]
        value = _summed(
            a, r, b + picture * bias_stride, s, base, rows, columns, mask, inside, C1, C2, HAS_R, HAS_B, HAS_S
        )  # fmt: skip
        if KEEP:
            tl.store(x + (base + rows)[:, None] * (C1 + C2) + columns[None, :], value, mask=mask)
        total += tl.sum(value, axis=0)
        squares += tl.sum(value * value, axis=0)
    groups = tl.arange(0, TOGETHER)
    member = (lanes // PER_GROUP)[None, :] == groups[:, None]
    at = ((picture * tl.num_programs(2) + split) * GROUPS + block * TOGETHER + groups) * 2
    tl.store(sums + at, tl.sum(tl.where(member, total[None, :], 0.0), axis=1))
    tl.store(sums + at + 1, tl.sum(tl.where(member, squares[None, :], 0.0), axis=1))


@triton.jit(do_not_specialize=["split_count"])
def _normalize(
    a, b, s, sums, y, weight, shift, eps, bias_stride, pixels, split_count,
    C1: tl.constexpr, C2: tl.constexpr, PER_GROUP: tl.constexpr, GROUPS: tl.constexpr,
    TOGETHER: tl.constexpr, SPLITS: tl.constexpr, HAS_B: tl.constexpr, HAS_S: tl.constexpr, SILU: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """By the sums of `_group_sums`; what is normalized is [a + b, s]."""
    picture, block = tl.program_id(0), tl.program_id(1)
    groups, splits, lanes = tl.arange(0, TOGETHER), tl.arange(0, SPLITS), tl.arange(0, BC)
    at = ((picture * split_count + splits)[:, None] * GROUPS + block * TOGETHER + groups[None, :]) * 2
    there = (splits < split_count)[:, None] & (groups < TOGETHER)[None, :]
    count = pixels * PER_GROUP
    mean = tl.sum(tl.load(sums + at, mask=there, other=0), axis=0) / count
    square = tl.sum(tl.load(sums + at + 1, mask=there, other=0), axis=0) / count
    rstd = 1 / tl.sqrt_rn(tl.maximum(square - mean * mean, 0.0) + eps)
    member = (lanes // PER_GROUP)[None, :] == groups[:, None]
    inside = lanes < TOGETHER * PER_GROUP
    columns = block * (TOGETHER * PER_GROUP) + lanes
    scale = tl.load(weight + columns, mask=inside, other=0).to(tl.float32)
    scale = scale * tl.sum(tl.where(member, rstd[:, None], 0.0), axis=0)
    offset = tl.load(shift + columns, mask=inside, other=0).to(tl.float32)
    offset = offset - scale * tl.sum(tl.where(member, mean[:, None], 0.0), axis=0)
    rows = tl.program_id(2) * BP + tl.arange(0, BP)
    mask = (rows < pixels)[:, None] & inside[None, :]
    base = picture * pixels
    value = _summed(
        a, a, b + picture * bias_stride, s, base, rows, columns, mask, inside, C1, C2, False, HAS_B, HAS_S
    )  # fmt: skip
    out = value * scale[None, :] + offset[None, :]
    if SILU:
        out = out * tl.sigmoid(out)
    tl.store(y + (base + rows)[:, None] * (C1 + C2) + columns[None, :], out, mask=mask)


@triton.jit
def _layer_norm(
    a, r, b, x, y, weight, shift, eps, count, x_stride,
    C: tl.constexpr, HAS_R: tl.constexpr, HAS_B: tl.constexpr, KEEP: tl.constexpr, BM: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.arange(0, BC)
    inside = columns < C
    mask = (rows < count)[:, None] & inside[None, :]
    at = rows[:, None] * C + columns[None, :]
    value = tl.load(a + at, mask=mask, other=0).to(tl.float32)
    if HAS_R:
        value += tl.load(r + at, mask=mask, other=0).to(tl.float32)
    if HAS_B:
        value += tl.load(b + columns, mask=inside, other=0).to(tl.float32)[None, :]
    if KEEP:
        tl.store(x + rows[:, None] * x_stride + columns[None, :], value, mask=mask)
    centred = tl.where(mask, value - (tl.sum(value, axis=1) / C)[:, None], 0.0)
    rstd = 1 / tl.sqrt_rn(tl.sum(centred * centred, axis=1) / C + eps)
    scale = tl.load(weight + columns, mask=inside, other=0).to(tl.float32)
    offset = tl.load(shift + columns, mask=inside, other=0).to(tl.float32)
    tl.store(y + at, centred * rstd[:, None] * scale[None, :] + offset[None, :], mask=mask)


def group_norm(
    value: Tensor,
    residual: Tensor | None,
    bias: Tensor | None,
    skip: Tensor | None,
    norm: Norm,
    silu: bool,
    keep: bool,
) -> tuple[Tensor | None, Tensor]:
    """See `twins.group_norm`. One kernel for small pictures; else one for the sums, by many programs, and another."""
    count, height, width, first = value.shape
    second = 0 if skip is None else skip.shape[-1]
    channels, pixels, groups = first + second, height * width, norm.groups
    out = value.new_empty(count, height, width, channels)
    keep = keep and (residual is not None or bias is not None or skip is not None)
    # a sum of three is written down in the first pass, to be read once in the second
    kept = torch.empty_like(out) if keep or residual is not None else value
    lines = bias.stride(0) if bias is not None and bias.dim() == 2 else 0
    per_group = channels // groups
    sizes = {"C1": first, "C2": second, "PER_GROUP": per_group, "GROUPS": groups}
    r, b, s = (part if part is not None else value for part in (residual, bias, skip))
    has = {"HAS_R": residual is not None, "HAS_B": bias is not None, "HAS_S": skip is not None}
    lanes, all_pixels = triton.next_power_of_2(per_group), triton.next_power_of_2(pixels)
    if all_pixels * lanes <= 2 * TILE:
        _group_norm[(count * groups,)](
            value, r, b, s, kept, out, norm.weight, norm.bias, norm.eps, lines, pixels,
            **sizes, **has, KEEP=keep, SILU=silu, BP=all_pixels, BC=lanes,
            num_warps=8 if all_pixels * lanes >= TILE // 2 else 4,
        )  # fmt: skip
        return (kept if keep else value), out
    together = _groups_together(per_group, groups)
    lanes = triton.next_power_of_2(together * per_group)
    tile = max(TILE // 2 // lanes, 16)
    blocks = groups // together
    tiles = triton.cdiv(pixels, tile)
    splits = min(tiles, SPLITS, max(1, PROGRAMS // (count * blocks)))
    per_split = tile * triton.cdiv(tiles, splits)
    splits = triton.cdiv(pixels, per_split)
    sums = torch.empty(count, splits, groups, 2, dtype=torch.float32, device=value.device)
    whole = kept is not value
    _group_sums[(count, blocks, splits)](
        value, r, b, s, kept, sums, lines, pixels, per_split,
        **sizes, **has, TOGETHER=together, KEEP=whole, BP=tile, BC=lanes, num_warps=4,
    )  # fmt: skip
    if whole:
        sizes |= {"C1": channels, "C2": 0}
    _normalize[(count, blocks, tiles)](
        kept, b, s, sums, out, norm.weight, norm.bias, norm.eps, lines, pixels, splits,
        **sizes, TOGETHER=together, SPLITS=SPLITS, HAS_B=has["HAS_B"] and not whole, HAS_S=has["HAS_S"] and not whole,
        SILU=silu, BP=tile, BC=lanes, num_warps=4,
    )  # fmt: skip
    return (kept if keep else value), out


def _groups_together(per_group: int, groups: int) -> int:
    """How many groups a program takes: their channels are whole sectors of memory, 64 or more."""
    together = 1
    while groups % (2 * together) == 0 and (together * per_group < 64 or together * per_group % 16):
        together *= 2
    return together


def layer_norm(value: Tensor, residual: Tensor | None, bias: Tensor | None, norm: Norm, total: Tensor | None) -> Tensor:
    """See `twins.layer_norm`."""
    count, channels = value.shape
    out = torch.empty_like(value)
    lanes = triton.next_power_of_2(channels)
    rows = max(1, 2048 // lanes)
    _layer_norm[(triton.cdiv(count, rows),)](
        value, residual if residual is not None else value, bias if bias is not None else value,
        total if total is not None else value, out, norm.weight, norm.bias, norm.eps, count,
        total.stride(0) if total is not None else 0,
        C=channels, HAS_R=residual is not None, HAS_B=bias is not None, KEEP=total is not None, BM=rows, BC=lanes,
    )  # fmt: skip
    return out
