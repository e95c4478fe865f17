"""The camera's own motion taken out of poses: a hand that drifts, a pan, a zoom, a crop that follows the face.

Poses are relative to the camera, and so must they be for training. Played back before a background that stands still,
the camera's motion would be the person's. People who talk sit or stand: the slow motion of the torso is the camera's.
It is taken out of head and torso alike, so the head keeps its motion on the torso, and both their quick motion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

Poses = NDArray[np.float32]  # (T, 3, 4)

SLOW = 5.0  # frames, deviation of the smoothing: breath (4 s) and sway go along, nods stay


def steadied(head: Poses, torso: Poses, breaks: NDArray[np.bool_] | None = None) -> tuple[Poses, Poses]:
    """Head and torso poses (T, 3, 4) as a camera on a stand would have seen them.

    `breaks`: (T - 1,) frames after which the film goes on elsewhere; the camera's motion does not go on there.
    """
    pieces = np.split(torso.astype(np.float64), [] if breaks is None else np.flatnonzero(breaks) + 1)
    moves = np.concatenate([gaussian_filter1d(each[:, :, 3], SLOW, axis=0, mode="nearest") for each in pieces])
    turns = Rotation.from_quat(
        np.concatenate(
            [gaussian_filter1d(_without_jumps(each[:, :, :3]), SLOW, axis=0, mode="nearest") for each in pieces]
        )
    )
    middle, place = turns.mean(), moves.mean(axis=0)
    back = (middle * turns.inv()).as_matrix()  # x -> back (x - moves) + place undoes the slow motion

    def apart(poses: Poses) -> Poses:
        there = poses.astype(np.float64)
        turned = back @ there[:, :, :3]
        moved = np.einsum("tij,tj->ti", back, there[:, :, 3] - moves) + place
        return np.concatenate([turned, moved[..., None]], axis=2).astype(np.float32)

    return apart(head), apart(torso)


def _without_jumps(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations (T, 3, 3) as quaternions (T, 4) that do not change sign from one to the next."""
    quats = Rotation.from_matrix(turns).as_quat()
    signs = np.where((quats[1:] * quats[:-1]).sum(axis=1) < 0, -1.0, 1.0)
    quats[1:] *= np.cumprod(signs)[:, None]
    return quats
