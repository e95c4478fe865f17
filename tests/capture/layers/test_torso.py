"""A drawn torso moved by known amounts, followed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from being.capture.layers.torso import track_torso
from being.capture.pose.solve import PoseSolution
from being.dataset.parsing import HEAD, TORSO
from being.dataset.pose import FLIP
from being.errors import InputError

SIDE, FOCAL, DEPTH, T = 128, 200.0, 7.0, 40


def solution() -> PoseSolution:
    poses = np.repeat(np.concatenate([FLIP, [[0], [0], [DEPTH]]], axis=1)[None], T, 0).astype(np.float32)
    return PoseSolution(FOCAL, SIDE / 2, SIDE / 2, np.zeros((478, 3)), poses, 0.0, np.zeros(T, np.float32))


def scene(shifts: np.ndarray, rolls: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames and labels: a patterned torso, shifted (T, 2) px and rolled (T,), noise, a head that nods by itself."""
    rng = np.random.default_rng(1)
    cloth = gaussian_filter(rng.normal(0, 1, (SIDE, SIDE)), 3)
    cloth = 120 + 60 * cloth / cloth.std()
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    middle = SIDE / 2
    for i, ((dx, dy), roll) in enumerate(zip(shifts, rolls, strict=True)):
        c, s = np.cos(roll), np.sin(roll)
        u, v = columns - middle - dx, rows - middle - dy
        x, y = c * u + s * v + middle, -s * u + c * v + middle
        body = (y > 70) & (np.abs(x - middle) < 50)
        frame = np.where(body, map_coordinates(cloth, [y - 0.5, x - 0.5], order=1, mode="nearest"), 60.0)
        head = np.hypot(columns - middle, (rows - 45 - 6 * np.sin(i / 3)) * 0.8) < 26
        frame = np.where(head, 200.0, frame) + rng.normal(0, 2, frame.shape)
        grey = np.clip(frame, 0, 255).astype(np.uint8)
        yield np.repeat(grey[..., None], 3, 2), np.where(head, HEAD, np.where(body, TORSO, 0)).astype(np.uint8)


def follow(shifts: np.ndarray, rolls: np.ndarray) -> np.ndarray:
    frames, labels = zip(*scene(shifts, rolls), strict=True)
    return track_torso(iter(frames), iter(labels), solution())


def spots(poses: np.ndarray) -> np.ndarray:
    """Where three points of the torso project (T, 3, 2), relative to the first frame."""
    points = np.array([[-1.0, -1.0, 0], [1.0, -1.0, 0], [0, -1.8, 0]])
    at = np.einsum("tij,kj->tki", poses[:, :, :3], points) + poses[:, None, :, 3]
    pixels = FOCAL * at[..., :2] / at[..., 2:]
    return pixels - pixels[:1]


def test_known_motion_is_followed() -> None:
    t = np.arange(T) / 25
    shifts = np.stack([5 * np.sin(3 * t), 3 * np.sin(2 * t)], 1)
    rolls = np.radians(4) * np.sin(2.5 * t)
    poses = follow(shifts, rolls)
    assert poses.shape == (T, 3, 4) and poses.dtype == np.float32
    assert np.allclose(np.linalg.det(poses[:, :, :3]), 1, atol=1e-5)
    points = np.array([[-1.0, 1.0], [1.0, 1.0], [0, 1.8]]) * FOCAL / DEPTH
    c, s = np.cos(rolls), np.sin(rolls)
    turned = np.einsum("ijt,kj->tki", np.array([[c, -s], [s, c]]), points) + shifts[:, None]
    assert np.sqrt(np.mean((spots(poses) - (turned - turned[:1])) ** 2)) < 0.5


def test_a_still_torso_stays_still_under_a_nodding_head() -> None:
    poses = follow(np.zeros((T, 2)), np.zeros(T))
    assert np.abs(spots(poses)).max() < 0.15


def test_without_a_torso_the_pose_rests() -> None:
    frames = [np.zeros((SIDE, SIDE, 3), np.uint8)] * T
    poses = track_torso(frames, [np.zeros((SIDE, SIDE), np.uint8)] * T, solution())
    assert np.allclose(poses, solution().poses)


def test_missing_pictures_are_told() -> None:
    frames, labels = zip(*scene(np.zeros((3, 2)), np.zeros(3)), strict=True)
    with pytest.raises(InputError, match="3 pictures for 40 poses"):
        track_torso(frames, labels, solution())
