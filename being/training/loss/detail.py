"""The detail term: how much fine structure there is, wherever exactly it lies.

A pixel loss would rather have no pores and no single hairs than ones half a pixel off. What is compared here is the
local strength of fine structure: the deviation of what a 3x3 mean leaves of the picture, over windows of 8 pixels, at
the picture's own scale and at half of it. Matching local statistics instead of pixels: Portilla and Simoncelli 2000.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

SCALES = 2
WINDOW, STEP = 8, 4  # pixels
LEAST = 1e-3  # of full scale: deviations below say nothing


def detail_difference(predicted: Tensor, truth: Tensor) -> Tensor:
    """Pictures (B, H, W, 3) in [0, 1] -> mean absolute difference of their local deviations, over two scales."""
    a, b = (picture.permute(0, 3, 1, 2) for picture in (predicted, truth))
    total = predicted.new_zeros(())
    for scale in range(SCALES):
        if scale:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        total = total + (_strength(a) - _strength(b)).abs().mean()
    return total / SCALES


def _strength(picture: Tensor) -> Tensor:
    """(B, 3, H, W) -> (B, 3, h, w) deviation of the fine structure in each window."""
    fine = picture - F.avg_pool2d(picture, 3, stride=1, padding=1, count_include_pad=False)
    return (F.avg_pool2d(fine * fine, WINDOW, stride=STEP) + LEAST**2).sqrt()
