"""The camera's motion is taken out of what is played back, the person's is kept."""

from __future__ import annotations

import numpy as np
import pytest

from being.dataset.pose import project
from being.synthetic import listen
from being.synthetic.camera import film_with
from being.synthetic.generate import truth
from being.training.data.steady_camera import steadied

SIZE = 512
CLIP = listen(12.0, seed=5)
CENTRE = np.zeros((1, 3))


def sway(poses: np.ndarray, intrinsics: np.ndarray) -> float:
    """How far the middle of the head or torso strays in the picture, pixels."""
    at = np.stack([project(CENTRE, pose, intrinsics)[0] for pose in poses])
    return float(np.linalg.norm(at - at.mean(axis=0), axis=1).mean())


def turns(poses: np.ndarray) -> np.ndarray:
    """Angles between following frames, degrees."""
    steps = poses[1:, :, :3].astype(np.float64) @ poses[:-1, :, :3].transpose(0, 2, 1)
    return np.degrees(np.arccos(np.clip((np.trace(steps, axis1=1, axis2=2) - 1) / 2, -1, 1)))


@pytest.mark.parametrize("kind", ["hand", "pan", "zoom"])
def test_a_moving_camera_is_hardly_seen(kind: str) -> None:
    filmed = truth(CLIP, SIZE, SIZE, film_with(kind, CLIP.head, SIZE, SIZE, 5))
    at_rest = truth(CLIP, SIZE, SIZE)
    head, torso = steadied(filmed["head_pose"], filmed["torso_pose"])
    usual = sway(at_rest["torso_pose"], at_rest["intrinsics"])
    shaken = sway(filmed["torso_pose"], filmed["intrinsics"])
    assert sway(torso, filmed["intrinsics"]) < usual + 0.15 * max(shaken - usual, 0) + 1
    assert sway(head, filmed["intrinsics"]) < 1.3 * sway(at_rest["head_pose"], at_rest["intrinsics"]) + 1
    # turns of the head on the torso are the person's own
    own = np.einsum("tji,tjk->tik", filmed["torso_pose"][:, :, :3], filmed["head_pose"][:, :, :3])
    kept = np.einsum("tji,tjk->tik", torso[:, :, :3], head[:, :, :3])
    np.testing.assert_allclose(kept, own, atol=1e-5)
    # a tremor is too quick to be told from a nod: it stays
    assert turns(head).mean() == pytest.approx(turns(at_rest["head_pose"]).mean(), rel=0.4)


def test_a_cut_to_another_camera_leaves_no_swing() -> None:
    filmed = CLIP.torso.copy()
    filmed[150:, 0, 3] += 0.8  # the film goes on with the person further to the right
    breaks = np.zeros(len(filmed) - 1, bool)
    breaks[149] = True
    _, torso = steadied(CLIP.head, filmed, breaks)
    assert np.abs(np.diff(torso[:, 0, 3])).max() < 0.02
    _, swung = steadied(CLIP.head, filmed)
    assert np.abs(np.diff(swung[:, 0, 3])).max() > 0.3


def test_poses_stay_rotations() -> None:
    head, torso = steadied(CLIP.head, CLIP.torso)
    for poses in (head, torso):
        np.testing.assert_allclose(
            poses[:, :, :3] @ poses[:, :, :3].transpose(0, 2, 1), np.eye(3)[None].repeat(len(poses), 0), atol=1e-5
        )
    one = steadied(CLIP.head[:1], CLIP.torso[:1])
    np.testing.assert_allclose(one[0], CLIP.head[:1], atol=1e-5)
