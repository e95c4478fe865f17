"""The denoising network of Stable Diffusion, laid out for one step: the twin of diffusers' `UNet2DConditionModel`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from being.refine.streamdiffusion.layers import (
    ResidualBlock,
    Sum,
    TransformerBlock,
    Upsampler,
    convolve,
    norm_of,
    weight_of,
)
from being.refine.streamdiffusion.low_rank import AttentionChange
from being.refine.streamdiffusion.operations import Operations


@dataclass(frozen=True, eq=False)
class _Stage:
    """Residual blocks of one resolution, each with its attention or None; a resampling behind them or None."""

    blocks: tuple[tuple[ResidualBlock, TransformerBlock | None], ...]
    down: tuple[Tensor, Tensor] | None = None
    up: Upsampler | None = None


class Denoiser:
    """Predicts the noise in latents, (N, h, w, 4) at timesteps of N rows, for one prompt.

    Parameters
    ----------
    unet : diffusers' UNet2DConditionModel of the SD 1 or SD 2 kind (time added, one transformer layer a block), on its
        device in its number format; it may be freed afterwards.
    prompt : (T, D) embeddings of the prompt.
    timesteps : those that rows may ask for.

    Attributes
    ----------
    attentions : name in the UNet and block, in the order in which they run.
    """

    def __init__(self, unet: Any, prompt: Tensor, timesteps: Sequence[int], ops: Operations) -> None:
        self.ops = ops
        self.timesteps = tuple(timesteps)
        residual = [module for module in unet.modules() if hasattr(module, "time_emb_proj")]
        self.times, slices = _table_of_times(unet, residual, self.timesteps)
        own = dict(zip(map(id, residual), slices, strict=True))
        names = {id(module): name for name, module in unet.named_modules()}
        self.attentions: list[tuple[str, TransformerBlock]] = []

        def attending(module: Any) -> TransformerBlock:
            block = TransformerBlock(module, prompt)
            self.attentions.append((f"{names[id(module)]}.transformer_blocks.0", block))
            return block

        def blocks(stage: Any) -> tuple[tuple[ResidualBlock, TransformerBlock | None], ...]:
            attentions = getattr(stage, "attentions", None) or [None] * len(stage.resnets)
            pairs = zip(stage.resnets, attentions, strict=False)
            return tuple(
                (ResidualBlock(resnet, own[id(resnet)]), attending(attention) if attention else None)
                for resnet, attention in pairs
            )

        self.conv_in = (weight_of(unet.conv_in), unet.conv_in.bias.detach())
        self.down = []
        for stage in unet.down_blocks:
            conv = stage.downsamplers[0].conv if stage.downsamplers else None
            down = None if conv is None else (weight_of(conv), conv.bias.detach())
            self.down.append(_Stage(blocks(stage), down=down))
        middle, last = unet.mid_block, unet.mid_block.resnets[1]
        self.middle = (blocks(middle)[0], ResidualBlock(last, own[id(last)]))
        self.up = [
            _Stage(blocks(stage), up=Upsampler(stage.upsamplers[0]) if stage.upsamplers else None)
            for stage in unet.up_blocks
        ]
        self.norm_out = norm_of(unet.conv_norm_out)
        self.conv_out = (weight_of(unet.conv_out), unet.conv_out.bias.detach())

    def places(self, timesteps: Sequence[int], device: torch.device | None = None) -> Tensor:
        """Rows of the table of times, (N,) int64. ValueError for a timestep that is not in it."""
        return torch.tensor([self.timesteps.index(t) for t in timesteps], device=device or self.times.device)

    def __call__(
        self,
        latents: Tensor,
        places: Tensor,
        controls: Sequence[Tensor] = (),
        changes: Sequence[AttentionChange] = (),
    ) -> Tensor:
        """(N, h, w, 4), (N,) of `places` -> the noise in them, (N, h, w, 4).

        controls : what a ControlNet adds to each skip connection and then to the middle, (N, h', w', C) each.
        changes : of each of `attentions`, for these N rows; empty for the network as it is.
        """
        ops, own = self.ops, iter(changes)
        times = self.times[places]
        x = Sum(convolve(latents, self.conv_in[0]), None, self.conv_in[1])
        skips: list[Tensor] = []  # what each block is given, as its first norm sums it
        for stage in self.down:
            for block, attention in stage.blocks:
                x, total = block(x, None, times, ops)
                skips.append(total)
                if attention is not None:
                    x = attention(x, ops, next(own, None))
            if stage.down is not None:
                skips.append(x.total(ops))
                x = Sum(convolve(skips[-1], stage.down[0], stride=2), None, stage.down[1])
        (block, attention), last = self.middle
        x, total = block(x, None, times, ops)
        skips.append(total)
        if controls:
            skips = [skip + control for skip, control in zip(skips, controls[:-1], strict=True)]
        if attention is not None:
            x = attention(x, ops, next(own, None))
        x, _ = last(x, None, times, ops)
        if controls:
            x = Sum(x.total(ops) + controls[-1])
        for stage in self.up:
            for block, attention in stage.blocks:
                x, _ = block(x, skips.pop(), times, ops)
                if attention is not None:
                    x = attention(x, ops, next(own, None))
            if stage.up is not None:
                x = stage.up(x, ops)
        _, y = ops.group_norm(x.value, x.residual, x.bias, None, self.norm_out, silu=True, keep=False)
        return convolve(y, self.conv_out[0]) + self.conv_out[1]


def _table_of_times(unet: Any, residual: Sequence[Any], timesteps: Sequence[int]) -> tuple[Tensor, list[slice]]:
    """(T, sum of channels) projected embeddings with the first convolution's bias, and each block's columns."""
    weight = unet.conv_in.weight
    steps = torch.tensor(list(timesteps), device=weight.device)
    embedded = unet.time_embedding(unet.time_proj(steps).to(weight.dtype)).detach()
    columns, slices, start = [], [], 0
    for module in residual:
        column = module.time_emb_proj(F.silu(embedded)).detach() + module.conv1.bias.detach()
        columns.append(column)
        slices.append(slice(start, start + column.shape[1]))
        start += column.shape[1]
    return torch.cat(columns, dim=1).contiguous(), slices
