"""The face in head space: its landmarks, and how far around them sound may move anything.

Speech moves lips, jaw, cheeks and, a little, brows. Hair, ears and temples do not; left free to, they learn the
footage's few sentences by heart and then flicker under every other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from torch import Tensor

from being.dataset.landmarks import triangulate
from being.training.data.footage import Footage

Array = NDArray[np.float64]

FRAMES = 200  # at most so many place the landmarks
WHOLE, NONE = 0.05, 0.2  # face widths outside the landmarks' hull: the reach is 1 up to here, 0 from there


@dataclass(frozen=True)
class FaceRegion:
    """Convex outline of the face seen from the front: inside, normals (E, 2) @ xy + offsets (E,) <= 0; width in dm."""

    normals: Tensor
    offsets: Tensor
    width: float

    def __call__(self, xyz: Tensor) -> Tensor:
        """What sound may do at head-space places (N, 3), in [0, 1]: 1 on the face, falling to 0 around it."""
        outside = (xyz[:, :2] @ self.normals.T + self.offsets).amax(1) / self.width
        return ((NONE - outside) / (NONE - WHOLE)).clamp(0, 1)


def landmarks_of(footage: Footage) -> Array:
    """Where the training frames see the face's landmarks, (68, 3) dm in head space."""
    train = np.array(footage.train)
    chosen = train[np.linspace(0, len(train) - 1, min(FRAMES, len(train))).astype(int)]
    heads = footage.head_poses.cpu().double().numpy()[chosen]
    return triangulate(footage.landmarks[chosen], heads, footage.intrinsics.cpu().double().numpy())


def face_region(footage: Footage) -> FaceRegion:
    """The reach of sound on the head of this footage."""
    marks = landmarks_of(footage)
    hull = ConvexHull(marks[:, :2])
    edges = torch.from_numpy(hull.equations).float().to(footage.device)
    return FaceRegion(edges[:, :2], edges[:, 2], float(np.ptp(marks[:, 0])))
