"""The tiny autoencoder (TAESD) as convolutions with their ReLU, without autograd or modules between them.

Pictures in [0, 1], as TAESD was trained on; diffusers' scaling to [-1, 1] and back is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


class _Stack:
    """The layers of TAESD's encoder or decoder, in order."""

    def __init__(self, layers: nn.Sequential, run: Convolution) -> None:
        self._run = run
        self._steps: list[tuple[str, list[tuple[Tensor, Tensor | None]], int]] = []
        modules: list[Any] = list(layers)
        for at, module in enumerate(modules):
            if isinstance(module, nn.Conv2d):
                relu = at + 1 < len(modules) and isinstance(modules[at + 1], nn.ReLU)
                self._steps.append(("relu" if relu else "conv", [_packed(module)], module.stride[0]))
            elif isinstance(module, nn.Upsample):
                self._steps.append(("upsample", [], 1))
            elif not isinstance(module, nn.ReLU):  # AutoencoderTinyBlock; its channels do not change in TAESD
                convs = [_packed(part) for part in module.conv if isinstance(part, nn.Conv2d)]
                self._steps.append(("block", convs, 1))

    def __call__(self, x: Tensor) -> Tensor:
        run = self._run
        for kind, convs, stride in self._steps:
            if kind == "upsample":
                x = F.interpolate(x, scale_factor=2.0, mode="nearest")
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


def _channels_last(planes: Tensor) -> Tensor:
    return F.pad(planes, (0, 0, 0, 0, 0, max(0, FEWEST_CHANNELS - planes.shape[1]))).contiguous(
        memory_format=torch.channels_last
    )


class Autoencoder:
    """Pictures to latents and back, an eighth of the size.

    Parameters
    ----------
    vae : diffusers' AutoencoderTiny, on its device in its number format.
    """

    def __init__(self, vae: Any, run: Convolution = convolve) -> None:
        self._encode = _Stack(vae.encoder.layers, run)
        self._decode = _Stack(vae.decoder.layers, run)
        self.scale = float(vae.config.scaling_factor)

    def encode(self, pictures: Tensor) -> Tensor:
        """(N, 3, S, S) in [0, 1], channels anyhow -> (N, S / 8, S / 8, 4)."""
        return (self._encode(_channels_last(pictures)) * self.scale).permute(0, 2, 3, 1)

    def decode(self, latents: Tensor) -> Tensor:
        """(N, s, s, 4) -> (N, 3, 8 s, 8 s), near [0, 1]."""
        squeezed = torch.tanh(latents / (LATENT_LIMIT * self.scale)) * LATENT_LIMIT
        return self._decode(_channels_last(squeezed.permute(0, 3, 1, 2)))
