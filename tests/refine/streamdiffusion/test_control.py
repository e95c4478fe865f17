"""Rendered depth as ControlNets know it."""

from __future__ import annotations

import torch

from being.refine.streamdiffusion.control import FARTHER, NEARER, depth_picture


def test_nearer_is_lighter_and_nothing_is_black() -> None:
    depth = torch.tensor([0.0, 8 - NEARER, 8.0, 8 + FARTHER, 30.0]).view(1, 1, 1, 5)
    picture = depth_picture(depth, torch.tensor([8.0]))
    assert picture.shape == (1, 3, 1, 5)
    nothing, near, face, far, beyond = picture[0, 0, 0].tolist()
    assert nothing == far == beyond == 0 and near == 1 and 0.4 < face < 0.7


def test_a_picture_goes_by_its_own_distance_alone() -> None:
    depth = 8 + torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    one = depth_picture(depth, torch.tensor([8.0, 8.0]))
    two = depth_picture(depth, torch.tensor([8.0, 9.0]))
    assert torch.equal(one[0], two[0]) and not torch.equal(one[1], two[1])
    shifted = depth_picture(depth[:1] + 1, torch.tensor([9.0]))
    assert (shifted - one[:1]).abs().max() < 0.1  # a face that leans back looks the same
