"""How far the lids are shut, asked of the deformation itself.

A blink is two frames in a hundred and some hundred pixels of each: the picture alone teaches a network that hears
speech next to nothing of it. So its lids are led by the filmed landmarks, as its lips are
(`being.training.model.lip_motion`): each by its height under the root of the nose, which keeps still. (By the gap
between the lids alone, the lower one is as good as the upper one, which is not how eyes shut.)
"""

from __future__ import annotations

from torch import Tensor

from being.training.data.footage import Footage
from being.training.model.landmark_distances import LandmarkDistances

ROOT = 27  # of the nose
UPPER, LOWER = (37, 38, 43, 44), (41, 40, 47, 46)  # of the 68 landmarks, those above each other at the same place
PART = slice(ROOT, 48)
APART = tuple((ROOT, lid, 1) for lid in (*UPPER, *LOWER))
DEPTHS = (-0.06, 0.0, 0.06, 0.12)  # dm


class LidMotion(LandmarkDistances):
    """The lids of some footage; `points` and `filmed` as `LandmarkDistances`."""

    def __init__(self, footage: Footage) -> None:
        super().__init__(footage, PART, APART, DEPTHS)

    def __call__(self, displacement: Tensor, frames: Tensor) -> Tensor:
        """Mean cost, dm, of displacements (B, K P, 3) of `points` that are to shut the lids as in frames (B,)."""
        found, wanted = self.further(displacement), self.filmed.index_select(0, frames)[:, None]
        return ((wanted[:, None] - wanted[None]) - (found[:, None] - found[None])).abs().mean()

    def gap(self, heights: Tensor) -> Tensor:
        """Mean distance (...) of upper and lower lid, dm, of heights (..., C) of the lids, `APART`."""
        upper, lower = heights.split(len(UPPER), -1)
        return (upper - lower).mean(-1)
