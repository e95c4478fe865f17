"""Across a cut the recorded motion goes on without a jump; elsewhere it is what was filmed."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from being.training.joints import bridged


def poses(yaw: np.ndarray, x: np.ndarray) -> np.ndarray:
    turns = Rotation.from_rotvec(np.stack([0 * yaw, yaw, 0 * yaw], 1)).as_matrix()
    return np.concatenate([turns, np.stack([x, 0 * x, 9 + 0 * x], 1)[..., None]], 2).astype(np.float32)


def test_a_cut_is_bridged_and_the_rest_stays() -> None:
    yaw = np.concatenate([np.full(40, 0.0), np.full(40, 0.3)])
    moved = poses(yaw, 2 * yaw)
    clock = np.concatenate([np.arange(40), np.arange(100, 140)])
    out = bridged(moved, clock)
    turned = Rotation.from_matrix(out[:, :, :3]).as_rotvec()[:, 1]
    assert np.abs(np.diff(turned)).max() < 0.04 and np.abs(np.diff(out[:, 0, 3])).max() < 0.08
    assert np.array_equal(out[:20], moved[:20]) and np.allclose(out[60:], moved[60:], atol=1e-6)
    assert np.allclose(out[:, :, :3] @ out[:, :, :3].transpose(0, 2, 1), np.eye(3), atol=1e-5)


def test_motion_without_cuts_is_untouched() -> None:
    moved = poses(np.linspace(0, 1, 30), np.linspace(0, 1, 30))
    assert bridged(moved, np.arange(30)) is moved
