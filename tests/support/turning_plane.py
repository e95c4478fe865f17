"""Pairs of a plane that turns before the camera, for tests of refiners."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from being.refine.native.references import unprojected
from being.training.refiner.pairs import Pairs

COUNT, SIDE = 12, 96


def turning_plane() -> Pairs:
    """A grey plane 8 dm away that turns and shifts; the film shows freckles on it, the render does not."""
    random = torch.Generator().manual_seed(1)
    freckles = F.interpolate(torch.rand(1, 3, 40, 40, generator=random), size=(320, 320), mode="bicubic")
    camera = (300.0, 300.0, SIDE / 2, SIDE / 2)
    poses = torch.eye(3, 4).repeat(COUNT, 1, 1)
    depth = torch.zeros(COUNT, SIDE, SIDE)
    at = (torch.arange(SIDE) + 0.5 - SIDE / 2) / 300
    for row in range(COUNT):
        angle = torch.tensor(0.03 * (row - COUNT / 2))
        poses[row, :, :3] = torch.tensor([[angle.cos(), 0, angle.sin()], [0, 1, 0], [-angle.sin(), 0, angle.cos()]])
        poses[row, :, 3] = torch.tensor([0.02 * row, -0.01 * row, 8.0])
        normal = poses[row, :, 2]  # the plane z = 0 of head space
        rays = torch.stack([at[None].expand(SIDE, -1), at[:, None].expand(-1, SIDE), torch.ones(SIDE, SIDE)], -1)
        depth[row] = (normal @ poses[row, :, 3]) / (rays @ normal)
    points = unprojected(depth, poses, torch.tensor([camera]).expand(COUNT, 4))
    seen = F.grid_sample(freckles.expand(COUNT, -1, -1, -1), points[..., :2] / 2, align_corners=False)
    truth = (80 + 60 * seen).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
    return Pairs(
        frames=torch.arange(COUNT),
        renders=torch.full((COUNT, SIDE, SIDE, 3), 110, dtype=torch.uint8),
        truth=truth,
        alpha=torch.full((COUNT, SIDE, SIDE), 255, dtype=torch.uint8),
        plate=torch.zeros(SIDE, SIDE, 3, dtype=torch.uint8),
        windows=torch.tensor([[8, 8, 88, 88]] * COUNT),
        boxes=torch.tensor([[16.0, 16, 80, 80]] * COUNT),
        lips=torch.tensor([[32.0, 48, 64, 64]] * COUNT),
        seen=torch.ones(COUNT, dtype=torch.bool),
        avatars=torch.zeros(COUNT, dtype=torch.int64),
        head_poses=poses,
        depth=depth.half(),
        camera=camera,
    )
