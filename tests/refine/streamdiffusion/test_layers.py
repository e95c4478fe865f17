"""What is multiplied out when weights are loaded is the same function."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from being.refine.streamdiffusion import twins
from being.refine.streamdiffusion.layers import upsampling_weight


def test_four_small_convolutions_are_one_behind_nearest_upsampling() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, 7, generator=generator, dtype=torch.float64)
    weight = torch.randn(4, 3, 3, 3, generator=generator, dtype=torch.float64)
    expected = F.conv2d(F.interpolate(x, scale_factor=2.0), weight, padding=1)
    phases = F.conv2d(x, upsampling_weight(weight), padding=1).permute(0, 2, 3, 1).contiguous()
    torch.testing.assert_close(twins.interleave(phases).permute(0, 3, 1, 2), expected)


def test_padded_columns_of_a_softmax_count_for_nothing() -> None:
    scores = torch.randn(3, 2 * 16, generator=torch.Generator().manual_seed(0))
    out = twins.softmax(scores, heads=2, tokens=13).view(3, 2, 16)
    torch.testing.assert_close(out[..., :13], scores.view(3, 2, 16)[..., :13].softmax(-1))
    assert not out[..., 13:].any()
