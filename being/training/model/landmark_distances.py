"""Distances between landmarks, asked of the deformation itself: what the lips and the lids are led by.

The network is asked how it moves landmarks, points of head space as good as Gaussians, and the distances between them
are held against the filmed ones. No picture is drawn for it. Where the landmarks lie at rest is free (Gaussians drift
while training), so every pair of frames of a batch is asked how much further apart they are in the one than in the
other.

How deep landmarks lie is known to half a centimetre or so, and the deformation may differ within less: led at one depth
alone, lids that no Gaussian is near were moved, and those drawn were not. So landmarks can be asked for at several.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from being.training.data.face import landmarks_of
from being.training.data.footage import Footage

Pairs = Sequence[tuple[int, int, int]]  # two of the 68 landmarks, and the axis of their distance


class LandmarkDistances:
    """How far apart pairs of landmarks are in each frame of some footage.

    Attributes
    ----------
    points : (K P, 3) where the landmarks rest, dm in head space, at each of K depths. filmed : (T, C) distances of the
    pairs, dm: by how much the second lies further along the axis.
    """

    def __init__(self, footage: Footage, part: slice, pairs: Pairs, depths: Sequence[float] = (0.0,)) -> None:
        """part : which of the 68 landmarks are asked for; the pairs are among them. depths : dm in front of where they
        were triangulated.
        """
        marks = landmarks_of(footage)
        places = in_head_space(footage, marks)
        points = np.stack([marks[part] + (0, 0, depth) for depth in depths])
        self.points = torch.from_numpy(points).float().flatten(0, 1).to(footage.device)
        self._depths = len(depths)
        distances = [places[:, b, axis] - places[:, a, axis] for a, b, axis in pairs]
        self.filmed = torch.from_numpy(np.stack(distances, 1)).float().to(footage.device)
        first, second, axes = (torch.tensor(column) for column in zip(*pairs, strict=True))
        self._first = ((first - part.start) * 3 + axes).to(footage.device)
        self._second = ((second - part.start) * 3 + axes).to(footage.device)

    def further(self, displacement: Tensor) -> Tensor:
        """(B, K, C) by how much displacements (B, K P, 3) of `points` draw the pairs apart, dm."""
        flat = displacement.unflatten(1, (self._depths, -1)).flatten(2)
        return flat.index_select(2, self._second) - flat.index_select(2, self._first)


def in_head_space(footage: Footage, marks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the filmed landmarks are, (T, 68, 3) dm: on the planes across the head that hold `marks` (68, 3)."""
    fx, fy, cx, cy = footage.intrinsics.cpu().double().numpy()
    poses = footage.head_poses.cpu().double().numpy()
    pixels = footage.landmarks.astype(np.float64)
    rays = np.stack([(pixels[..., 0] - cx) / fx, (pixels[..., 1] - cy) / fy, np.ones(pixels.shape[:2])], -1)
    inverse = np.linalg.inv(poses[:, :, :3])
    origin = -np.einsum("tij,tj->ti", inverse, poses[:, :, 3])[:, None]
    directions = np.einsum("tij,tkj->tki", inverse, rays)
    reach = (marks[None, :, 2] - origin[..., 2]) / directions[..., 2]
    return np.asarray(origin + directions * reach[..., None])
