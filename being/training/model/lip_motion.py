"""How far apart the lips are, asked of the deformation itself.

A picture says little about a mouth that opens too little: lips that fade into darkness cost hardly more than lips
that move, and where the sound leaves the opening open, the cheapest picture is half-shut. So the network is also asked
how it moves the lips' landmarks, points of head space as good as Gaussians, and the distances between them are held
against the filmed ones: inner and outer lips up and down, corners across.

Where the resting lips lie is free (Gaussians drift while training), so every pair of frames of a batch is asked how
much further apart they are in the one than in the other. Too little can be made to cost more than too much (pinball
loss): the network then shows an upper quantile of what the sound leaves open, not the median.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from being.dataset.landmarks import INNER_LIPS, MOUTH
from being.training.data.face import landmarks_of
from being.training.data.footage import Batch, Footage

# Pairs of the 68 landmarks, and the axis of their distance: upper and lower lip by height, corners by width.
APART = (
    *((a, b, 1) for a, b in ((61, 67), (62, 66), (63, 65))),
    *((a, b, 1) for a, b in ((50, 58), (51, 57), (52, 56))),
    *((a, b, 0) for a, b in ((48, 54), (60, 64))),
)
MIDDLE = APART.index((*INNER_LIPS, 1))
LOW, HIGH = 5, 95  # per cent of the frames: where a distance is narrow and wide


class LipMotion:
    """The lips' landmarks of some footage.

    Attributes
    ----------
    points : (P, 3) where they rest, dm in head space. filmed : (T, C) distances of the pairs `APART`, dm. rehearsed :
    (R, C) those of the rehearsed speech, as wide as this mouth opens in the training frames; (0, C) without.
    """

    def __init__(self, footage: Footage, opening_weight: float = 0.0, rehearsal: float = 0.0) -> None:
        """opening_weight : how much more a pair of frames counts where the one with wider lips has them wide open.
        rehearsal : how much a pair counts in which a moment is rehearsed; 1: as one of the film's.
        """
        marks = landmarks_of(footage)
        self.points = torch.from_numpy(marks[MOUTH]).float().to(footage.device)
        places = in_head_space(footage, marks)
        distances = [places[:, b, axis] - places[:, a, axis] for a, b, axis in APART]
        self.filmed = torch.from_numpy(np.stack(distances, 1)).float().to(footage.device)
        low, high = np.percentile(np.stack(distances, 1)[list(footage.train)], (LOW, HIGH), axis=0)
        others = np.zeros((0, len(APART)))
        if footage.rehearsal is not None:
            others = footage.rehearsal.distances(APART)
            least, most = np.percentile(others, (LOW, HIGH), axis=0)
            others = low + (others - least) * (high - low) / np.maximum(most - least, 1e-6)
        self.rehearsed = torch.from_numpy(others).float().to(footage.device)
        self._opening_weight, self._rehearsal = opening_weight, rehearsal
        self._shut, self._range = float(high[MIDDLE]), float(high[MIDDLE] - low[MIDDLE])  # open lips: the lowest number
        first, second, axes = (torch.tensor(column) for column in zip(*APART, strict=True))
        self._first = ((first - MOUTH.start) * 3 + axes).to(footage.device)
        self._second = ((second - MOUTH.start) * 3 + axes).to(footage.device)

    def __call__(self, displacement: Tensor, batch: Batch, quantile: float) -> Tensor:
        """Mean cost, dm, of displacements (B or 2 B, P, 3) of `points`, see `being.training.model.drawing.Posed.moved`.

        `quantile` 0.5: all errors alike.
        """
        found = self.further(displacement)
        wanted = self.filmed.index_select(0, batch.frames)
        if len(found) > len(wanted):
            wanted = torch.cat([wanted, self.rehearsed.index_select(0, batch.rehearsed)])
        further = wanted[:, None] - wanted[None]  # (B, B, C)
        short = further.abs() - further.sign() * (found[:, None] - found[None])
        cost = 2 * torch.maximum(quantile * short, (quantile - 1) * short).mean(-1)
        if self._opening_weight:
            opened = ((self._shut - wanted[:, MIDDLE]) / max(self._range, 1e-6)).clamp(0, 1)
            cost = cost * (1 + self._opening_weight * torch.maximum(opened[:, None], opened[None]))
        own = len(batch.frames)
        total = cost[:own, :own].mean()  # the film's pairs count the same whatever is rehearsed
        if len(found) > own:
            total = total + self._rehearsal * (cost.sum() - cost[:own, :own].sum()) / own**2
        return total

    def further(self, displacement: Tensor) -> Tensor:
        """(B, C) by how much displacements (B, P, 3) of `points` draw the pairs apart, dm."""
        flat = displacement.flatten(1)
        return flat.index_select(1, self._second) - flat.index_select(1, self._first)


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
