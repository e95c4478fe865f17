"""How strong detail is by its frequency: what was predicted is softer than the film, a small filter makes up for it.

A prediction from several references is their mean where they differ, so that of fine detail there is less power than
in the film. One isotropic kernel for each avatar, made so that the radial power spectrum of refined faces is the
film's, sets that right without moving anything: its phase is zero, and it leaves what is coarser than 16 pixels alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FINE = 1 / 16  # cycles a pixel, from which on the gain counts
LEAST, MOST = 0.8, 2.5  # of the gain of amplitudes
GRID = 64  # frequencies in each direction from which a kernel is made


def kernel_of(gains: Tensor, side: int) -> Tensor:
    """Gains of amplitudes (R,), evenly from frequency 0 to Nyquist -> (side, side), what the kernel adds to a picture:
    it sums to 0, so that flat colours stay. What the kernel is too small for, it does less of."""
    rings = len(gains)
    cycles = (torch.arange(rings) + 0.5) / (2 * rings)
    gains = torch.where(cycles < FINE, 1.0, gains.clamp(LEAST, MOST))
    y, x = torch.meshgrid(torch.fft.fftfreq(GRID), torch.fft.fftfreq(GRID), indexing="ij")
    at = ((y.square() + x.square()).sqrt() * 2 * rings - 0.5).clamp(0, rings - 1)
    low = at.floor().long().clamp(max=rings - 2)
    share = at - low
    response = gains[low] * (1 - share) + gains[low + 1] * share
    spread = torch.fft.fftshift(torch.fft.ifft2(response).real)
    first = (GRID - side) // 2 + (GRID - side) % 2
    kernel = spread[first : first + side, first : first + side]
    line = torch.hann_window(side + 2, False)[1:-1]
    window = torch.outer(line, line)
    kernel = kernel * window
    kernel[side // 2, side // 2] -= 1
    kernel -= kernel.sum() * window / window.sum()
    return kernel


def added(pictures: Tensor, kernel: Tensor) -> Tensor:
    """What the kernel (side, side) of `kernel_of` adds to pictures (N, C, S, S), colour by colour."""
    channels, reach = pictures.shape[1], kernel.shape[0] // 2
    padded = F.pad(pictures, (reach,) * 4, mode="replicate")
    return F.conv2d(padded, kernel.expand(channels, 1, *kernel.shape), groups=channels)
