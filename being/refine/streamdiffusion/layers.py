"""The layers of a Stable Diffusion UNet, packed for one step with one prompt.

What never changes between frames is multiplied out when the weights are loaded:

- Cross attention to a constant prompt. Scores are x Wq K^T and the result is P V Wo, where K and V are the prompt's: so
  Wq K^T and V Wo are two matrices, and no key, value or attention kernel is left. Padded to a multiple of 16 columns a
  head.
- Time: each residual block adds a projection of the timestep's embedding, a row of a table here (`times`).
- The feed-forward's second layer and the projection behind it are linear, so they are one product over [hidden,
  tokens].
- A convolution behind nearest upsampling sees each pixel up to four times: four 2x2 convolutions of the small picture
  give the same with 4/9 of the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from being.refine.streamdiffusion.low_rank import AttentionChange, LowRank, linear
from being.refine.streamdiffusion.operations import Operations
from being.refine.streamdiffusion.twins import Norm

ALIGNED = 16  # columns; tensor cores take multiples of 8


@dataclass(frozen=True, eq=False)
class Sum:
    """value + residual + bias, not added yet: (N, H, W, C), the same, (C,)."""

    value: Tensor
    residual: Tensor | None = None
    bias: Tensor | None = None

    def total(self, ops: Operations) -> Tensor:
        return ops.add(self.value, self.residual, self.bias)


def convolve(pictures: Tensor, weight: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
    """A convolution without its bias, pictures (N, H, W, C) in and out."""
    planes = F.conv2d(pictures.permute(0, 3, 1, 2), weight, stride=stride, padding=padding)
    return planes.permute(0, 2, 3, 1)


def upsampling_weight(weight: Tensor) -> Tensor:
    """(D, C, 3, 3) behind nearest upsampling by 2 -> (4 D, C, 2, 2) before `interleave`.

    Output row 2 i + a sees rows i - 1 + a and i + a of the small picture: for a = 0 with the kernel's rows {0}, {1, 2},
    for a = 1 with {0, 1}, {2}. Columns likewise.
    """
    rows = torch.zeros(2, 2, 3, dtype=weight.dtype, device=weight.device)  # phase, small row, kernel row
    rows[0, 0, 0] = rows[0, 1, 1] = rows[0, 1, 2] = 1
    rows[1, 0, 0] = rows[1, 0, 1] = rows[1, 1, 2] = 1
    phases = torch.einsum("aik,bjl,dckl->abdcij", rows, rows, weight)
    return phases.reshape(-1, weight.shape[1], 2, 2)


def norm_of(module: Any) -> Norm:
    return Norm(module.weight.detach(), module.bias.detach(), module.eps, getattr(module, "num_groups", 0))


def weight_of(module: nn.Module) -> Tensor:
    weight: Tensor = module.weight.detach()  # type: ignore[assignment,operator,union-attr]
    return weight.contiguous(memory_format=torch.channels_last) if weight.dim() == 4 else weight


class ResidualBlock:
    """Norm, SiLU, convolution, + time; norm, SiLU, convolution; + what came in (ResnetBlock2D of diffusers).

    times : the columns of the table of times that are this block's; the first convolution's bias is in them.
    """

    def __init__(self, module: Any, times: slice) -> None:
        self.norm1, self.norm2 = norm_of(module.norm1), norm_of(module.norm2)
        self.conv1, self.conv2 = weight_of(module.conv1), weight_of(module.conv2)
        self.bias = module.conv2.bias.detach()
        self.times = times
        self.projection: Tensor | None = None
        if module.conv_shortcut is not None:
            self.projection = module.conv_shortcut.weight.detach().flatten(1)
            self.bias = self.bias + module.conv_shortcut.bias.detach()

    def __call__(self, x: Sum, skip: Tensor | None, times: Tensor, ops: Operations) -> tuple[Sum, Tensor]:
        """-> (what it makes, the sum that came in without the skip connection's channels where there is one)."""
        total, y = ops.group_norm(x.value, x.residual, x.bias, skip, self.norm1, silu=True, keep=True)
        assert total is not None
        y = convolve(y, self.conv1)
        _, y = ops.group_norm(y, None, times[:, self.times], None, self.norm2, silu=True, keep=False)
        residual = total if self.projection is None else F.linear(total, self.projection)
        return Sum(convolve(y, self.conv2), residual, self.bias), total


@dataclass(frozen=True, eq=False)
class CrossAttention:
    """Attention to one prompt: (C, heads * padded) to the scores, (heads * padded, C) from the weights; transposed.

    key, value : of the prompt, (heads, padded, d) float32, keys times the scale: what a change of the query's or the
    output's weights is multiplied by (`LoraLayout`).
    """

    scores: Tensor
    result: Tensor
    bias: Tensor
    key: Tensor
    value: Tensor
    heads: int
    tokens: int

    @classmethod
    def of(cls, module: Any, prompt: Tensor) -> CrossAttention:
        """prompt : (T, D) embeddings. Multiplied in float32."""
        heads, tokens = module.heads, len(prompt)
        padded = -(-tokens // ALIGNED) * ALIGNED
        query = module.to_q.weight.detach().float()
        out, dtype = module.to_out[0], module.to_q.weight.dtype
        key = F.linear(prompt.float(), module.to_k.weight.detach().float()).view(tokens, heads, -1)
        value = F.linear(prompt.float(), module.to_v.weight.detach().float()).view(tokens, heads, -1)
        query = query.view(heads, -1, query.shape[1])
        scores = query.new_zeros(heads, padded, query.shape[2])
        scores[:, :tokens] = torch.einsum("thd,hdc->htc", key, query) * module.scale
        result = query.new_zeros(heads, padded, out.weight.shape[0])
        weight = out.weight.detach().float().view(out.weight.shape[0], heads, -1)
        result[:, :tokens] = torch.einsum("thd,chd->htc", value, weight)
        rows = (0, 0, 0, padded - tokens)
        return cls(
            scores.flatten(0, 1).to(dtype).contiguous(),
            result.flatten(0, 1).t().to(dtype).contiguous(),
            out.bias.detach(),
            F.pad(key.transpose(0, 1) * module.scale, rows),
            F.pad(value.transpose(0, 1), rows),
            heads,
            tokens,
        )

    def __call__(
        self, x: Tensor, ops: Operations, scores: LowRank | None = None, result: LowRank | None = None
    ) -> Tensor:
        """(M, C) -> (M, C), without the bias. scores, result : changes of the two products."""
        weights = ops.softmax(linear(x, self.scores, scores), self.heads, self.tokens)
        return linear(weights, self.result, result)


class TransformerBlock:
    """Self attention, attention to the prompt, feed-forward; projections before and behind (Transformer2DModel)."""

    def __init__(self, module: Any, prompt: Tensor) -> None:
        block = module.transformer_blocks[0]
        own, net = block.attn1, block.ff.net
        self.norm = norm_of(module.norm)
        self.proj_in = (module.proj_in.weight.detach().flatten(1), module.proj_in.bias.detach())
        self.norm1, self.norm2, self.norm3 = (norm_of(getattr(block, f"norm{n}")) for n in (1, 2, 3))
        self.heads = own.heads
        self.qkv = torch.cat([part.weight.detach() for part in (own.to_q, own.to_k, own.to_v)]).contiguous()
        self.own_out = (own.to_out[0].weight.detach(), own.to_out[0].bias.detach())
        self.cross = CrossAttention.of(block.attn2, prompt)
        self.gated = (net[0].proj.weight.detach(), net[0].proj.bias.detach())
        weight, bias = module.proj_out.weight.detach().float().flatten(1), module.proj_out.bias.detach().float()
        second = net[2].weight.detach().float()
        self.bias = (bias + weight @ net[2].bias.detach().float()).to(module.proj_out.bias.dtype)
        self.out = torch.cat([weight @ second, weight], dim=1).to(module.proj_out.weight.dtype).contiguous()
        self.hidden = second.shape[1]

    def __call__(self, x: Sum, ops: Operations, change: AttentionChange | None = None) -> Sum:
        """change : of these rows' attention, each its own."""
        qkv, out, scores, result = change.parts if change is not None else (None,) * 4
        total, y = ops.group_norm(x.value, x.residual, x.bias, None, self.norm, silu=False, keep=True)
        assert total is not None
        count, channels = len(y), y.shape[-1]
        tokens = F.linear(y.view(-1, channels), *self.proj_in)
        y = ops.layer_norm(tokens, None, None, self.norm1, None)
        y = linear(self._attend(linear(y, self.qkv, qkv), count), self.own_out[0], out)
        summed = torch.empty_like(tokens)
        y = ops.layer_norm(tokens, y, self.own_out[1], self.norm2, summed)
        y = self.cross(y, ops, scores, result)
        both = y.new_empty(len(y), self.hidden + channels)  # the feed-forward's hidden numbers, the tokens
        y = ops.layer_norm(summed, y, self.cross.bias, self.norm3, both[:, self.hidden :])
        ops.geglu(F.linear(y, *self.gated), both[:, : self.hidden])
        return Sum(F.linear(both, self.out).view(total.shape), total, self.bias)

    def _attend(self, qkv: Tensor, count: int) -> Tensor:
        """(M, 3 C) queries, keys and values of `count` pictures -> (M, C)."""
        split = qkv.view(count, len(qkv) // count, 3, self.heads, -1)
        query, key, value = (split[:, :, part].transpose(1, 2) for part in range(3))
        return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(len(qkv), -1)


class Upsampler:
    """Nearest upsampling by 2, then a convolution, as four small ones."""

    def __init__(self, module: Any) -> None:
        self.bias = module.conv.bias.detach()
        weight = module.conv.weight.detach()
        phases = upsampling_weight(weight.float()).to(weight.dtype)
        self.phases = phases.contiguous(memory_format=torch.channels_last)

    def __call__(self, x: Sum, ops: Operations) -> Sum:
        return Sum(ops.interleave(convolve(x.total(ops), self.phases)), None, self.bias)
