"""The face in head space: its landmarks, and how far around them sound may move anything.

Speech moves lips, jaw, cheeks and, a little, brows. Hair, ears and temples do not hear it; left free to, they learn the
footage's few sentences by heart and then flicker under every other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from torch import Tensor

from being.training.data.footage import Footage

Array = NDArray[np.float64]

FRAMES = 200  # at most so many place the landmarks
WHOLE, NONE = 0.05, 0.2  # face widths outside the landmarks' hull: the reach is 1 up to here, 0 from there


@dataclass(frozen=True)
class AudioContextRange:
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


def audio_context_range(footage: Footage) -> AudioContextRange:
    """The reach of sound on the head of this footage."""
    marks = landmarks_of(footage)
    hull = ConvexHull(marks[:, :2])
    edges = torch.from_numpy(hull.equations).float().to(footage.device)
    return AudioContextRange(edges[:, :2], edges[:, 2], float(np.ptp(marks[:, 0])))


def triangulate(landmarks: NDArray[np.float32], poses: Array, intrinsics: Array) -> Array:
    """Mean canonical place (K, 3) of landmarks seen in many frames (T, K, 2) under poses (T, 3, 4).

    Least squares of (r_x - u r_z) p = u t_z - t_x and the same for y. A head that never turns leaves depth open: a weak
    pull towards z = 0 decides then.
    """
    fx, fy, cx, cy = intrinsics
    u = (landmarks[..., 0] - cx) / fx
    v = (landmarks[..., 1] - cy) / fy
    rotation, t = poses[:, None, :, :3], poses[:, None, :, 3]
    rows = np.stack([rotation[..., 0, :] - u[..., None] * rotation[..., 2, :],
                     rotation[..., 1, :] - v[..., None] * rotation[..., 2, :]], axis=2)  # fmt: skip
    right = np.stack([u * t[..., 2] - t[..., 0], v * t[..., 2] - t[..., 1]], axis=2)
    normal = np.einsum("tkri,tkrj->kij", rows, rows)
    pull = 1e-4 * len(poses) * np.diag([0.0, 0.0, 1.0])
    return np.linalg.solve(normal + pull, np.einsum("tkri,tkr->ki", rows, right)[..., None])[..., 0]
