"""Head and torso poses: 3x4 matrices inside Being, `euler` and `trans` in published tracking files.

A pose is [R | t] with x_cam = R x + t, from canonical space (x right, y up, z toward the viewer, unit 10 cm) to an
OpenCV camera (x right, y down, z forward). Published files give Euler angles (a, b, c) in radians and a translation in
a camera that looks along -z, so

    R = D Rx(a) Ry(b) Rz(-c),    t = D trans,    D = diag(1, -1, -1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FLIP = np.diag([1.0, -1.0, -1.0])  # from "y up, looking along -z" to "y down, looking along +z"


def rotation_of_euler(euler: ArrayLike) -> NDArray[np.float64]:
    """Rx(a) Ry(b) Rz(-c) of angles (..., 3) in radians -> (..., 3, 3)."""
    a, b, c = np.moveaxis(np.asarray(euler, np.float64), -1, 0)
    ca, sa, cb, sb, cc, sc = np.cos(a), np.sin(a), np.cos(b), np.sin(b), np.cos(c), np.sin(c)
    rows = [
        [cb * cc, cb * sc, sb],
        [sa * sb * cc - ca * sc, sa * sb * sc + ca * cc, -sa * cb],
        [-ca * sb * cc - sa * sc, -ca * sb * sc + sa * cc, ca * cb],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def euler_of_rotation(rotation: ArrayLike) -> NDArray[np.float64]:
    """Inverse of `rotation_of_euler`: (..., 3, 3) -> angles (..., 3) in radians, |b| <= pi/2."""
    r = np.asarray(rotation, np.float64)
    a = np.arctan2(-r[..., 1, 2], r[..., 2, 2])
    b = np.arcsin(np.clip(r[..., 0, 2], -1.0, 1.0))
    c = np.arctan2(r[..., 0, 1], r[..., 0, 0])
    return np.stack([a, b, c], axis=-1)


def pose_of_tracking(euler: ArrayLike, trans: ArrayLike) -> NDArray[np.float32]:
    """Tracking-file angles (..., 3) and translations (..., 3) -> poses (..., 3, 4)."""
    rotation = FLIP @ rotation_of_euler(euler)
    translation = np.asarray(trans, np.float64) @ FLIP
    return np.concatenate([rotation, translation[..., None]], axis=-1).astype(np.float32)


def tracking_of_pose(pose: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Poses (..., 3, 4) -> (euler (..., 3), trans (..., 3)) as published tracking files hold them."""
    matrix = np.asarray(pose, np.float64)
    return euler_of_rotation(FLIP @ matrix[..., :3]), matrix[..., 3] @ FLIP


def rest_pose(head_poses: ArrayLike) -> NDArray[np.float32]:
    """The pose (3, 4) of a torso nobody tracked: facing the camera, where the head is on average.

    Parameters: head poses (T, 3, 4).
    """
    translation = np.asarray(head_poses, np.float64)[..., 3].mean(axis=0)
    return np.concatenate([FLIP, translation[:, None]], axis=1).astype(np.float32)


def camera_to_world(pose: ArrayLike) -> NDArray[np.float64]:
    """The `transform_matrix` (4, 4) of transforms_*.json for a pose (3, 4): R^T and -R^T trans / 10 (metres)."""
    euler, trans = tracking_of_pose(pose)
    rotation = rotation_of_euler(euler)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.T
    matrix[:3, 3] = -rotation.T @ (trans / 10.0)
    return matrix


def project(points: ArrayLike, pose: ArrayLike, intrinsics: ArrayLike) -> NDArray[np.float64]:
    """Canonical points (N, 3) -> pixels (N, 2) under a pose (3, 4) and intrinsics (fx, fy, cx, cy)."""
    matrix = np.asarray(pose, np.float64)
    fx, fy, cx, cy = np.asarray(intrinsics, np.float64)
    camera = np.asarray(points, np.float64) @ matrix[:, :3].T + matrix[:, 3]
    return camera[:, :2] / camera[:, 2:] * np.array([fx, fy]) + np.array([cx, cy])
