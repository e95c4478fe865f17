"""How strong structure is by its fineness: the radial log power spectrum of a picture's luma."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LUMA = (0.2126, 0.7152, 0.0722)  # BT.709


def luma(pictures: Tensor) -> Tensor:
    """(N, S, S) float32 in [0, 1]."""
    return (pictures.float() / 255) @ pictures.new_tensor(LUMA, dtype=torch.float32)


def radial_spectrum(picture: Tensor) -> Tensor:
    """Logarithm (base 10) of the mean power of luma (h, w) by frequency, lowest to Nyquist, under a Hann window.

    Returns (min(h, w) // 2,).
    """
    height, width = picture.shape
    window = torch.outer(*(torch.hann_window(side, False, device=picture.device) for side in (height, width)))
    power = torch.fft.fft2((picture - picture.mean()) * window).abs().square()
    y, x = (torch.fft.fftfreq(side, device=picture.device) for side in (height, width))
    rings = min(height, width) // 2
    ring = ((y[:, None] ** 2 + x[None] ** 2).sqrt() * 2 * rings).round().long().flatten()
    counted = ring < rings
    total = torch.zeros(rings, device=picture.device).index_add(0, ring[counted], power.flatten()[counted])
    count = torch.zeros(rings, device=picture.device).index_add(
        0, ring[counted], torch.ones_like(power.flatten()[counted])
    )
    return (total / count.clamp(min=1) + 1e-9).log10()


def rings_of(picture: Tensor, count: int) -> Tensor:
    """`radial_spectrum` of luma (h, w) at as many frequencies whatever its size: (count,)."""
    return F.interpolate(radial_spectrum(picture)[None, None], size=count, mode="linear")[0, 0]


def smoothed(rings: Tensor) -> Tensor:
    """Means of three neighbours (R,)."""
    return F.avg_pool1d(F.pad(rings[None, None], (1, 1), mode="replicate"), 3, stride=1)[0, 0]
