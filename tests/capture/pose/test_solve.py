"""A known head under known poses, projected with noise, solved back."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from being.capture.landmarks.head_shape import OUTER_EYES, OUTER_EYES_DM, RIGID
from being.capture.pose.solve import PoseSolution, solve_pose
from being.dataset.pose import FLIP
from being.errors import InputError

W, H, FOCAL = 512, 512, 819.2


def head(rng: np.random.Generator) -> np.ndarray:
    """A made-up face (478, 3): points on an ellipsoid, those that define the axes where a face has them."""
    across, up = rng.uniform(-0.75, 0.75, 478), rng.uniform(-0.9, 0.9, 478)
    shape = np.stack([across, up, 0.9 * np.sqrt(np.clip(1 - (across / 0.95) ** 2 - (up / 1.2) ** 2, 0.02, 1))], 1)
    for left, right, x, y in ((33, 263, 0.445, 0.27), (133, 362, 0.17, 0.25), (127, 356, 0.7, 0.2), (234, 454, 0.7, 0)):
        shape[left], shape[right] = (-x, y, 0.5 - x * x), (x, y, 0.5 - x * x)
    shape[10], shape[152] = (0, 0.8, 0.5), (0, -0.9, 0.5)
    shape[1], shape[4] = (0, -0.2, 1.0), (0, -0.1, 1.0)
    return shape


def performance(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Slow nods, shakes and sways: rotations (T, 3, 3) and moves (T, 3)."""
    t = np.arange(frames) / 25
    turns = np.radians(np.stack([8 * np.sin(0.9 * t), 14 * np.sin(0.6 * t + 1), 5 * np.sin(0.7 * t)], 1))
    moves = np.stack([0.3 * np.sin(0.5 * t), 0.1 * np.sin(0.8 * t), 7.2 + 0.2 * np.sin(0.4 * t)], 1)
    return FLIP @ Rotation.from_rotvec(turns).as_matrix(), moves


def film(shape: np.ndarray, rotations: np.ndarray, moves: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """What a face tracker would say: (T, 478, 3), pixels."""
    at = np.einsum("tij,kj->tki", rotations, shape) + moves[:, None]
    points = np.empty_like(at)
    points[..., :2] = FOCAL * at[..., :2] / at[..., 2:] + (W / 2, H / 2)
    points[..., 2] = FOCAL * (at[..., 2] - moves[:, None, 2]) / moves[:, None, 2]
    rng = np.random.default_rng(seed)
    return (points + rng.normal(0, noise, points.shape)).astype(np.float32)


def turned_wrong(solution: PoseSolution, rotations: np.ndarray) -> np.ndarray:
    """Degrees (T,) between solved and true rotations after removing one constant rotation."""
    solved = solution.poses[:, :, :3].astype(np.float64)
    constant = Rotation.from_matrix(rotations.transpose(0, 2, 1) @ solved).mean().as_matrix()
    return np.degrees(Rotation.from_matrix((rotations @ constant).transpose(0, 2, 1) @ solved).magnitude())


@pytest.fixture(scope="module")
def clip() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    shape = head(np.random.default_rng(3))
    rotations, moves = performance(120)
    return shape, rotations, moves, film(shape, rotations, moves, 0.4, 5)


def test_known_poses_come_back(clip: tuple[np.ndarray, ...]) -> None:
    _, rotations, moves, points = clip
    solution = solve_pose(points, np.ones(len(points), bool), W, H, focal=FOCAL)
    assert np.sqrt(np.mean(turned_wrong(solution, rotations) ** 2)) < 0.5
    assert solution.rms_px < 0.8
    assert solution.poses.shape == (120, 3, 4) and solution.poses.dtype == np.float32
    assert solution.focal == pytest.approx(FOCAL, rel=1e-3)
    assert np.allclose(np.linalg.det(solution.poses[:, :, :3]), 1, atol=1e-5)
    assert np.corrcoef(solution.poses[:, 2, 3], moves[:, 2])[0, 1] > 0.9
    eyes = solution.shape[list(OUTER_EYES)]
    assert np.linalg.norm(eyes[0] - eyes[1]) == pytest.approx(OUTER_EYES_DM, rel=1e-6)


def test_solution_projects_onto_the_points(clip: tuple[np.ndarray, ...]) -> None:
    points = clip[3]
    solution = solve_pose(points, np.ones(len(points), bool), W, H)
    at = np.einsum("tij,kj->tki", solution.poses[:, :, :3], solution.shape) + solution.poses[:, None, :, 3]
    pixels = solution.focal * at[..., :2] / at[..., 2:] + (solution.cx, solution.cy)
    distance = np.linalg.norm(pixels - points[..., :2], axis=-1)
    assert np.sqrt(np.mean(distance[:, list(RIGID)] ** 2)) == pytest.approx(solution.rms_px, rel=1e-3)
    assert np.median(distance) < 1.2  # the whole mesh, not only the rigid landmarks
    assert 1.0 < solution.focal / W < 2.5  # a prior, hardly moved


def test_wild_points_and_lost_frames_do_no_harm(clip: tuple[np.ndarray, ...]) -> None:
    _, rotations, _, points = clip
    wild = points.copy()
    wild[:, RIGID[7], 0] += 40  # a landmark that always lies
    wild[50, :, :2] += np.random.default_rng(1).normal(0, 30, (478, 2))
    found = np.ones(len(points), bool)
    found[70:75] = False
    wild[70:75] = 0
    solution = solve_pose(wild, found, W, H, focal=FOCAL)
    wrong = turned_wrong(solution, rotations)
    assert np.median(wrong) < 0.6 and wrong[70:75].max() < 2.0 and wrong[50] < 3.0
    assert np.isnan(solution.per_frame_rms[70:75]).all() and np.isfinite(solution.per_frame_rms[:70]).all()


def test_a_still_head_stays_still(clip: tuple[np.ndarray, ...]) -> None:
    shape, rotations, moves, _ = clip
    still = np.repeat(rotations[:1], 60, 0), np.repeat(moves[:1], 60, 0)
    solution = solve_pose(film(shape, *still, 0.4, 9), np.ones(60, bool), W, H)
    assert np.degrees(np.ptp(Rotation.from_matrix(FLIP @ solution.poses[:, :, :3]).as_rotvec(), axis=0)).max() < 0.5


def test_nonsense_is_refused(clip: tuple[np.ndarray, ...]) -> None:
    points = clip[3]
    with pytest.raises(InputError, match="focal"):
        solve_pose(points, np.ones(len(points), bool), W, H, focal=-3)
    with pytest.raises(InputError, match="2 frames"):
        solve_pose(points, np.arange(len(points)) < 2, W, H)
