from __future__ import annotations

import numpy as np
import pytest

from being.dataset import pose


def axis_rotation(axis: int, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.eye(3)
    j, k = [(1, 2), (2, 0), (0, 1)][axis]
    matrix[j, j] = matrix[k, k] = c
    matrix[j, k], matrix[k, j] = -s, s
    return matrix


def test_euler_order_is_rx_ry_minus_rz() -> None:
    a, b, c = 0.3, -0.5, 0.7
    expected = axis_rotation(0, a) @ axis_rotation(1, b) @ axis_rotation(2, -c)
    np.testing.assert_allclose(pose.rotation_of_euler([a, b, c]), expected, atol=1e-12)


def test_tracking_round_trip() -> None:
    rng = np.random.default_rng(0)
    euler, trans = rng.uniform(-1, 1, (20, 3)), rng.uniform(-1, 1, (20, 3)) - [0, 0, 9]
    back_euler, back_trans = pose.tracking_of_pose(pose.pose_of_tracking(euler, trans))
    np.testing.assert_allclose(back_euler, euler, atol=1e-5)
    np.testing.assert_allclose(back_trans, trans, atol=1e-5)


def test_frontal_head_faces_the_camera() -> None:
    frontal = pose.pose_of_tracking([0, 0, 0], [0, 0, -8])
    np.testing.assert_allclose(frontal[:, :3], np.diag([1, -1, -1]))
    pixels = pose.project([[0, 0, 0], [1, 0, 0], [0, 1, 0]], frontal, [800, 800, 256, 256])
    np.testing.assert_allclose(pixels, [[256, 256], [356, 256], [256, 156]])  # x to the right, y up


def test_published_projection() -> None:
    """FORMATS: X = R X + trans; x = cx - f X/Z, y = cy + f Y/Z."""
    euler, trans, f, cx, cy = [0.1, -0.2, 0.05], [0.3, 0.2, -9.0], 1200.0, 256.0, 250.0
    points = np.random.default_rng(1).normal(size=(5, 3))
    camera = points @ pose.rotation_of_euler(euler).T + trans
    expected = np.stack([cx - f * camera[:, 0] / camera[:, 2], cy + f * camera[:, 1] / camera[:, 2]], 1)
    got = pose.project(points, pose.pose_of_tracking(euler, trans), [f, f, cx, cy])
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_rest_pose_is_frontal_at_the_mean() -> None:
    heads = pose.pose_of_tracking([[0.1, 0, 0], [-0.1, 0, 0]], [[0, 0, -8], [1, 0, -10]])
    rest = pose.rest_pose(heads)
    assert rest.shape == (3, 4)
    assert rest[:, 3] == pytest.approx([0.5, 0, 9])
