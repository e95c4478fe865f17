"""Triton kernels of the denoising network's small operations; each function is the twin of one in `twins`."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from being.refine.streamdiffusion.twins import Norm

ADD_BLOCK = 1024  # numbers of one program
TILE = 8192  # numbers that a program of a normalization holds at a time


@triton.jit
def _add(a, r, b, out, total, CHANNELS: tl.constexpr, HAS_R: tl.constexpr, HAS_B: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < total
    value = tl.load(a + at, mask=inside, other=0).to(tl.float32)
    if HAS_R:
        value += tl.load(r + at, mask=inside, other=0).to(tl.float32)
    if HAS_B:
        value += tl.load(b + at % CHANNELS, mask=inside, other=0).to(tl.float32)
    tl.store(out + at, value, mask=inside)


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
    a, r, b, s, x, y, weight, shift, eps, bias_stride,
    PIXELS: tl.constexpr, C1: tl.constexpr, C2: tl.constexpr, PER_GROUP: tl.constexpr, GROUPS: tl.constexpr,
    HAS_R: tl.constexpr, HAS_B: tl.constexpr, HAS_S: tl.constexpr, KEEP: tl.constexpr, SILU: tl.constexpr,
    BP: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """One program a picture and group: sums in a first pass, the result in a second (in one where a tile holds all)."""
    picture = tl.program_id(0) // GROUPS
    group = tl.program_id(0) % GROUPS
    lanes = tl.arange(0, BC)
    inside = lanes < PER_GROUP
    columns = group * PER_GROUP + lanes
    base = picture * PIXELS
    b += picture * bias_stride
    scale = tl.load(weight + columns, mask=inside, other=0).to(tl.float32)
    offset = tl.load(shift + columns, mask=inside, other=0).to(tl.float32)
    CHANNELS: tl.constexpr = C1 + C2
    count: tl.constexpr = PIXELS * PER_GROUP
    if PIXELS <= BP:
        rows = tl.arange(0, BP)
        mask = (rows < PIXELS)[:, None] & inside[None, :]
        value = _summed(a, r, b, s, base, rows, columns, mask, inside, C1, C2, HAS_R, HAS_B, HAS_S)
        mean = tl.sum(value) / count
        centred = tl.where(mask, value - mean, 0.0)
        rstd = 1 / tl.sqrt_rn(tl.sum(centred * centred) / count + eps)
        at = (base + rows)[:, None] * CHANNELS + columns[None, :]
        if KEEP:
            tl.store(x + at, value, mask=mask)
        out = centred * (rstd * scale)[None, :] + offset[None, :]
        if SILU:
            out = out * tl.sigmoid(out)
        tl.store(y + at, out, mask=mask)
    else:
        sums = tl.zeros([BP, BC], tl.float32)
        squares = tl.zeros([BP, BC], tl.float32)
        for start in range(0, PIXELS, BP):
            rows = start + tl.arange(0, BP)
            mask = (rows < PIXELS)[:, None] & inside[None, :]
            value = _summed(a, r, b, s, base, rows, columns, mask, inside, C1, C2, HAS_R, HAS_B, HAS_S)
            if KEEP:
                tl.store(x + (base + rows)[:, None] * CHANNELS + columns[None, :], value, mask=mask)
            sums += value
            squares += value * value
        mean = tl.sum(sums) / count
        rstd = 1 / tl.sqrt_rn(tl.maximum(tl.sum(squares) / count - mean * mean, 0.0) + eps)
        scale = rstd * scale
        offset = offset - mean * scale
        for start in range(0, PIXELS, BP):
            rows = start + tl.arange(0, BP)
            mask = (rows < PIXELS)[:, None] & inside[None, :]
            value = _summed(a, r, b, s, base, rows, columns, mask, inside, C1, C2, HAS_R, HAS_B, HAS_S)
            out = value * scale[None, :] + offset[None, :]
            if SILU:
                out = out * tl.sigmoid(out)
            tl.store(y + (base + rows)[:, None] * CHANNELS + columns[None, :], out, mask=mask)


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


@triton.jit
def _geglu(gated, out, total, out_stride, D: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < total
    row, column = at // D, at % D
    value = tl.load(gated + row * 2 * D + column, mask=inside, other=0).to(tl.float32)
    gate = tl.load(gated + row * 2 * D + D + column, mask=inside, other=0).to(tl.float32)
    gelu = 0.5 * gate * (1 + tl.erf(gate * 0.7071067811865476))
    tl.store(out + row * out_stride + column, value * gelu, mask=inside)


@triton.jit
def _softmax(scores, out, count, TOKENS: tl.constexpr, PADDED: tl.constexpr, BM: tl.constexpr, BT: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM)
    columns = tl.arange(0, BT)
    at = rows[:, None] * PADDED + columns[None, :]
    used = (rows < count)[:, None] & (columns < TOKENS)[None, :]
    value = tl.load(scores + at, mask=used, other=float("-inf")).to(tl.float32)
    value = tl.exp(value - tl.max(value, axis=1)[:, None])
    value = value / tl.sum(value, axis=1)[:, None]
    tl.store(out + at, value, mask=(rows < count)[:, None] & (columns < PADDED)[None, :])


@triton.jit
def _interleave(
    phases, out, total, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, CHANNELS: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < total
    channel = at % CHANNELS
    pixel = at // CHANNELS
    x = pixel % (2 * WIDTH)
    line = pixel // (2 * WIDTH)
    y = line % (2 * HEIGHT)
    picture = line // (2 * HEIGHT)
    a, b = y % 2, x % 2
    source = (picture * (HEIGHT + 1) + y // 2 + a) * (WIDTH + 1) + x // 2 + b
    value = tl.load(phases + source * 4 * CHANNELS + (2 * a + b) * CHANNELS + channel, mask=inside, other=0)
    tl.store(out + at, value, mask=inside)


def add(value: Tensor, residual: Tensor | None, bias: Tensor | None) -> Tensor:
    """See `twins.add`."""
    if residual is None and bias is None:
        return value
    out = torch.empty_like(value)
    total = value.numel()
    _add[(triton.cdiv(total, ADD_BLOCK),)](
        value, residual if residual is not None else value, bias if bias is not None else value, out, total,
        CHANNELS=value.shape[-1], HAS_R=residual is not None, HAS_B=bias is not None, BLOCK=ADD_BLOCK,
    )  # fmt: skip
    return out


def group_norm(
    value: Tensor,
    residual: Tensor | None,
    bias: Tensor | None,
    skip: Tensor | None,
    norm: Norm,
    silu: bool,
    keep: bool,
) -> tuple[Tensor | None, Tensor]:
    """See `twins.group_norm`."""
    count, height, width, first = value.shape
    second = 0 if skip is None else skip.shape[-1]
    channels, pixels = first + second, height * width
    out = value.new_empty(count, height, width, channels)
    keep = keep and (residual is not None or bias is not None or skip is not None)
    total = torch.empty_like(out) if keep else value
    per_group = channels // norm.groups
    lanes = triton.next_power_of_2(per_group)
    tile = min(triton.next_power_of_2(pixels), max(TILE // lanes, 16))
    if pixels * lanes <= 2 * TILE:
        tile = triton.next_power_of_2(pixels)
    stride = bias.stride(0) if bias is not None and bias.dim() == 2 else 0
    _group_norm[(count * norm.groups,)](
        value, residual if residual is not None else value, bias if bias is not None else value,
        skip if skip is not None else value, total, out, norm.weight, norm.bias, norm.eps, stride,
        PIXELS=pixels, C1=first, C2=second, PER_GROUP=per_group, GROUPS=norm.groups,
        HAS_R=residual is not None, HAS_B=bias is not None, HAS_S=skip is not None, KEEP=keep, SILU=silu,
        BP=tile, BC=lanes, num_warps=8 if tile * lanes >= 4096 else 4,
    )  # fmt: skip
    return total, out


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


def geglu(gated: Tensor, out: Tensor) -> None:
    """See `twins.geglu`."""
    total = out.numel()
    _geglu[(triton.cdiv(total, ADD_BLOCK),)](gated, out, total, out.stride(0), D=out.shape[-1], BLOCK=ADD_BLOCK)


def softmax(scores: Tensor, heads: int, tokens: int) -> Tensor:
    """See `twins.softmax`."""
    out = torch.empty_like(scores)
    padded = scores.shape[1] // heads
    count = len(scores) * heads
    _softmax[(triton.cdiv(count, 16),)](
        scores, out, count, TOKENS=tokens, PADDED=padded, BM=16, BT=triton.next_power_of_2(padded)
    )
    return out


def interleave(phases: Tensor) -> Tensor:
    """See `twins.interleave`."""
    count, height, width, channels = phases.shape
    out = phases.new_empty(count, 2 * (height - 1), 2 * (width - 1), channels // 4)
    total = out.numel()
    _interleave[(triton.cdiv(total, ADD_BLOCK),)](
        phases, out, total, HEIGHT=height - 1, WIDTH=width - 1, CHANNELS=channels // 4, BLOCK=ADD_BLOCK
    )
    return out
