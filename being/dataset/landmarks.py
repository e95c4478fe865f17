"""The 68 iBUG landmarks of a face: its parts, how far the mouth is open, where the points lie in space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

MOUTH = slice(48, 68)  # of the 68 iBUG landmarks
EYES = (slice(36, 42), slice(42, 48))
INNER_LIPS = (62, 66)  # upper and lower inner lip, middle
EYE_CORNERS = (36, 45)


def mouth_opening(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gap of the inner lips over the eyes' distance, by its 95th percentile, in [0, 1]: (T, 68, 2) -> (T,)."""
    gap = np.linalg.norm(landmarks[:, INNER_LIPS[0]] - landmarks[:, INNER_LIPS[1]], axis=-1)
    eyes = np.linalg.norm(landmarks[:, EYE_CORNERS[0]] - landmarks[:, EYE_CORNERS[1]], axis=-1)
    opening = gap / np.maximum(eyes, 1e-6)
    return np.clip(opening / max(float(np.percentile(opening, 95)), 1e-6), 0, 1).astype(np.float32)


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
