"""The tiny autoencoder (TAESD) as convolutions with their ReLU, without autograd or modules between them.

Pictures in [0, 1], as TAESD was trained on; diffusers' scaling to [-1, 1] and back is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from being.refine.streamdiffusion.layers import upsampling_weight
from being.refine.streamdiffusion.operations import Operations

LATENT_LIMIT = 3.0  # the decoder squeezes latents with tanh(z / 3) * 3
FEWEST_CHANNELS = 8  # of a convolution's input, for tensor cores

Convolution = Callable[[Tensor, Tensor, "Tensor | None", "Tensor | None", int, bool], Tensor]


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, stride: int, relu: bool
) -> Tensor:
    """3x3 convolution, + residual, ReLU; planes (N, C, H, W) in channels-last order."""
    y = F.conv2d(x, weight, bias, stride=stride, padding=1)
    if residual is not None:
        y = y + residual
    return F.relu(y) if relu else y


def convolve_fused(
    x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, stride: int, relu: bool
) -> Tensor:
    """`convolve` as one cuDNN call where it has one."""
    if not relu or bias is None:
        return convolve(x, weight, bias, residual, stride, relu)
    if residual is None:
        return torch.cudnn_convolution_relu(x, weight, bias, (stride, stride), (1, 1), (1, 1), 1)
    return torch.cudnn_convolution_add_relu(x, weight, residual, 1.0, bias, (stride, stride), (1, 1), (1, 1), 1)


def convolution(device: torch.device, dtype: torch.dtype) -> Convolution:
    """The fused one on a GPU whose cuDNN has it for these numbers."""
    if device.type != "cuda":
        return convolve
    try:
        x = torch.zeros(1, 8, 8, 8, dtype=dtype, device=device).contiguous(memory_format=torch.channels_last)
        weight = torch.zeros(8, 8, 3, 3, dtype=dtype, device=device).contiguous(memory_format=torch.channels_last)
        convolve_fused(x, weight, weight[:, 0, 0, 0].contiguous(), x, 1, True)
    except RuntimeError:
        return convolve
    return convolve_fused


class _Stack:
    """The layers of TAESD's encoder or decoder, in order."""

    def __init__(self, layers: nn.Sequential, run: Convolution) -> None:
        self._run = run
        self._steps: list[tuple[str, list[tuple[Tensor, Tensor | None]], int]] = []
        modules: list[Any] = [module for module in layers if not isinstance(module, nn.ReLU)]
        rectified = {id(a) for a, b in pairwise(layers) if isinstance(b, nn.ReLU)}
        for at, module in enumerate(modules):
            upsampled = at > 0 and isinstance(modules[at - 1], nn.Upsample)
            if isinstance(module, nn.Conv2d):
                kind = "relu" if id(module) in rectified else "conv"
                if upsampled and kind == "conv" and module.bias is None:
                    kind, phases = "phases", upsampling_weight(module.weight.detach().float()).to(module.weight.dtype)
                    self._steps.append((kind, [(phases.contiguous(memory_format=torch.channels_last), None)], 1))
                else:
                    if upsampled:
                        self._steps.append(("upsample", [], 1))
                    self._steps.append((kind, [_packed(module)], module.stride[0]))
            elif not isinstance(module, nn.Upsample):  # AutoencoderTinyBlock; its channels do not change in TAESD
                if upsampled:
                    self._steps.append(("upsample", [], 1))
                convs = [_packed(part) for part in module.conv if isinstance(part, nn.Conv2d)]
                self._steps.append(("block", convs, 1))

    def __call__(self, x: Tensor, ops: Operations) -> Tensor:
        run = self._run
        for kind, convs, stride in self._steps:
            if kind == "upsample":
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            elif kind == "phases":  # see `upsampling_weight`
                phases = F.conv2d(x, convs[0][0], padding=1)
                x = ops.interleave(phases.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            elif kind == "block":
                (w1, b1), (w2, b2), (w3, b3) = convs
                y = run(run(x, w1, b1, None, 1, True), w2, b2, None, 1, True)
                x = run(y, w3, b3, x, 1, True)
            else:
                weight, bias = convs[0]
                x = run(x, weight, bias, None, stride, kind == "relu")
        return x


def _packed(conv: nn.Conv2d) -> tuple[Tensor, Tensor | None]:
    """Weight in channels-last order, few input channels padded with zeros; bias."""
    weight = conv.weight.detach()
    if weight.shape[1] < FEWEST_CHANNELS:
        weight = F.pad(weight, (0, 0, 0, 0, 0, FEWEST_CHANNELS - weight.shape[1]))
    return weight.contiguous(memory_format=torch.channels_last), None if conv.bias is None else conv.bias.detach()


class Autoencoder:
    """Pictures to latents and back, an eighth of the size.

    Parameters
    ----------
    vae : diffusers' AutoencoderTiny, on its device in its number format.
    """

    def __init__(self, vae: Any, ops: Operations, run: Convolution = convolve) -> None:
        self.ops = ops
        self._encode = _Stack(vae.encoder.layers, run)
        self._decode = _Stack(vae.decoder.layers, run)
        self.scale = float(vae.config.scaling_factor)
        self.dtype: torch.dtype = vae.dtype

    def encode(self, pictures: Tensor) -> Tensor:
        """(N, 3, S, S) in [0, 1], channels anyhow -> (N, S / 8, S / 8, 4)."""
        planes = self.ops.channels_last(pictures, FEWEST_CHANNELS, self.dtype)
        return (self._encode(planes, self.ops) * self.scale).permute(0, 2, 3, 1)

    def decode(self, latents: Tensor) -> Tensor:
        """(N, s, s, 4) -> (N, 3, 8 s, 8 s), near [0, 1]."""
        squeezed = torch.tanh(latents / (LATENT_LIMIT * self.scale)) * LATENT_LIMIT
        planes = self.ops.channels_last(squeezed.permute(0, 3, 1, 2), FEWEST_CHANNELS, self.dtype)
        return self._decode(planes, self.ops)
