"""The small operations of the denoising network in plain PyTorch: what runs on a CPU, and what the kernels are held to.

Pictures are (N, H, W, C), tokens (M, C); both contiguous. A sum that the next normalization reads anyway (a residual
connection, a bias, a concatenated skip connection) is formed there and not by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from being.refine.streamdiffusion.noise import anchored_noise

__all__ = ["add", "anchored_noise", "channels_last", "geglu", "group_norm", "interleave", "layer_norm", "softmax"]


@dataclass(frozen=True, eq=False)
class Norm:
    """Scale and shift of a normalization. groups : of a group normalization; 0 for a layer normalization."""

    weight: Tensor
    bias: Tensor
    eps: float
    groups: int = 0


def add(value: Tensor, residual: Tensor | None, bias: Tensor | None) -> Tensor:
    """value + residual + bias, pictures."""
    if residual is not None:
        value = value + residual
    return value if bias is None else value + bias


def group_norm(
    value: Tensor,
    residual: Tensor | None,
    bias: Tensor | None,
    skip: Tensor | None,
    norm: Norm,
    silu: bool,
    keep: bool,
) -> tuple[Tensor | None, Tensor]:
    """Group normalization of [value + residual + bias, skip], with SiLU behind it where asked for.

    bias : (C,), or (N, C) with a row for each picture. keep : whether the sum is wanted too. -> (sum, normalized).
    """
    if bias is not None and bias.dim() == 2:
        bias = bias[:, None, None, :]
    total = add(value, residual, bias)
    if skip is not None:
        total = torch.cat([total, skip], dim=-1)
    planes = total.permute(0, 3, 1, 2)
    normalized = F.group_norm(planes, norm.groups, norm.weight, norm.bias, norm.eps)
    if silu:
        normalized = F.silu(normalized)
    return (total if keep else None), normalized.permute(0, 2, 3, 1).contiguous()


def layer_norm(value: Tensor, residual: Tensor | None, bias: Tensor | None, norm: Norm, total: Tensor | None) -> Tensor:
    """Layer normalization of value + residual + bias, (M, C). total : (M, C) for the sum, its rows may be apart."""
    summed = add(value, residual, bias)
    if total is not None:
        total.copy_(summed)
    return F.layer_norm(summed, norm.weight.shape, norm.weight, norm.bias, norm.eps)


def geglu(gated: Tensor, out: Tensor) -> None:
    """(M, 2D): the first half times the GELU of the second, into (M, D) whose rows may be apart."""
    value, gate = gated.chunk(2, dim=-1)
    if gated.requires_grad:  # `out=` has no gradient
        out.copy_(value * F.gelu(gate))
    else:
        torch.mul(value, F.gelu(gate), out=out)


def softmax(scores: Tensor, heads: int, tokens: int) -> Tensor:
    """Softmax of each head over its first `tokens` of (M, heads * padded) columns; the padding comes out 0."""
    split = scores.view(len(scores), heads, -1)
    weights = torch.zeros_like(split)
    weights[..., :tokens] = F.softmax(split[..., :tokens].float(), dim=-1).to(scores.dtype)
    return weights.view_as(scores)


def interleave(phases: Tensor) -> Tensor:
    """(N, H + 1, W + 1, 4 C) of `upsampling_weight`'s convolution -> (N, 2 H, 2 W, C)."""
    count, height, width, channels = phases.shape
    height, width = height - 1, width - 1
    split = phases.view(count, height + 1, width + 1, 2, 2, channels // 4)
    out = phases.new_empty(count, height, 2, width, 2, channels // 4)
    for a in (0, 1):
        for b in (0, 1):
            out[:, :, a, :, b] = split[:, a : a + height, b : b + width, a, b]
    return out.view(count, 2 * height, 2 * width, channels // 4)


def channels_last(planes: Tensor, channels: int, dtype: torch.dtype) -> Tensor:
    """(N, C, H, W) to channels-last with at least `channels` of them, zeros behind; a power of two."""
    padded = F.pad(planes.to(dtype), (0, 0, 0, 0, 0, max(0, channels - planes.shape[1])))
    return padded.contiguous(memory_format=torch.channels_last)
