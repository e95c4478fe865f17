"""Sums, GEGLU and softmax."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ADD_BLOCK = 1024  # numbers of one program


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
