"""Head poses of a camera that zooms: turns as true as without a zoom, told as a camera of one focal length has them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from being.capture.pose.bundle import Camera, State, solve_each
from being.capture.pose.solve import NOISE, PoseSolution
from being.capture.pose.zoomed import HEAD, of_one_camera, without_zoom
from being.dataset.pose import FLIP

SIDE, FOCAL, FRAMES = 256, 410.0, 90
ZOOM = 1 + 0.14 * np.sin(2 * np.pi * np.arange(FRAMES) / 75)


def heads() -> NDArray[np.float64]:
    """Poses (T, 3, 4) of a head that nods, turns and sways."""
    t = np.arange(FRAMES) / 25
    angles = np.radians(np.stack([4 * np.sin(2.2 * t), 6 * np.sin(1.3 * t), np.sin(t)], axis=1))
    moves = np.stack([0.2 * np.sin(t), 0.1 * np.cos(1.7 * t), 7.5 + 0.1 * np.sin(0.8 * t)], axis=1)
    return np.concatenate([FLIP @ Rotation.from_rotvec(angles).as_matrix(), moves[..., None]], axis=2)


def seen(shape: NDArray, poses: NDArray, zoom: NDArray) -> NDArray[np.float64]:
    """Pixels (T, K, 2), and depths in pixels as the mesh has them, of a shape (K, 3)."""
    at = np.einsum("tij,kj->tki", poses[:, :, :3], shape) + poses[:, None, :, 3]
    pixels = FOCAL * zoom[:, None, None] * at[..., :2] / at[..., 2:] + SIDE / 2
    scale = FOCAL * zoom[:, None, None] / poses[:, 2, 3, None, None]
    return np.concatenate([pixels, scale * (at[..., 2:] - poses[:, 2, 3, None, None])], axis=2)


def crown() -> NDArray[np.float64]:
    """Points of brow, hairline and hair: those that are followed."""
    random = np.random.default_rng(1)
    x, y = random.uniform(-0.7, 0.7, 60), random.uniform(0.2, 1.1, 60)
    return np.column_stack([x, y, 0.9 * np.sqrt(np.clip(1 - (x / 0.95) ** 2 - (y / 1.3) ** 2, 0, 1))])


def wrong(solved: NDArray, true: NDArray) -> float:
    """Degrees RMS, one constant turn apart."""
    turned, right = solved[:, :, :3].astype(np.float64), true[:, :, :3]
    constant = Rotation.from_matrix(right.transpose(0, 2, 1) @ turned).mean().as_matrix()
    apart = Rotation.from_matrix((right @ constant).transpose(0, 2, 1) @ turned).magnitude()
    return float(np.degrees(np.sqrt(np.mean(apart**2))))


def test_without_the_zoom_the_turns_are_those_of_a_still_camera() -> None:
    poses, shape, camera = heads(), crown(), Camera(SIDE / 2, SIDE / 2, NOISE * SIDE)

    def solved(marks: NDArray, depths: NDArray) -> NDArray:
        start = State(FOCAL, shape, poses[:, :, :3], np.column_stack([poses[:, :2, 3], depths]))
        return solve_each(start, marks[..., :2].astype(np.float64), np.ones(marks.shape[:2]), camera).rotations

    marks = seen(shape, poses, ZOOM).astype(np.float32)
    assert wrong(solved(marks, poses[:, 2, 3] / ZOOM), poses) > 0.5  # taken for a head that comes nearer
    assert wrong(solved(without_zoom(marks, ZOOM, SIDE, SIDE), poses[:, 2, 3]), poses) < 0.02


def test_poses_of_one_camera_show_the_head_where_the_zoom_showed_it() -> None:
    poses = heads()
    known = PoseSolution(
        FOCAL, SIDE / 2, SIDE / 2, crown(), poses.astype(np.float32), 0.0, np.zeros(FRAMES, np.float32)
    )
    told = of_one_camera(known, ZOOM).poses.astype(np.float64)
    away = (seen(HEAD, told, np.ones(FRAMES)) - seen(HEAD, poses, ZOOM))[..., :2]
    assert np.sqrt(np.square(away).sum(-1).mean(axis=1)).max() < 0.6  # a zoom has another perspective
    np.testing.assert_allclose(told[:, 2, 3], poses[:, 2, 3] / ZOOM, rtol=0.05)
    still = of_one_camera(known, np.ones(FRAMES)).poses
    np.testing.assert_allclose(still, poses, atol=1e-4)
