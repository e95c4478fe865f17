"""Single frames' exposure and pose: found where they are wrong, and never allowed to shift the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from support.one_device import OneDevice

from being.training.config import CorrectionConfig
from being.training.model.corrections import FrameCorrections, compose, rotation_of

FRAMES, TRAIN = 8, (0, 1, 2, 3, 4, 5)


def test_rotations_are_rodrigues_and_differentiable_at_rest() -> None:
    vectors = np.array([[0.3, -0.2, 0.5], [1e-5, 0, 0], [0, 0, 0]])
    got = rotation_of(torch.from_numpy(vectors))
    np.testing.assert_allclose(got.numpy(), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-9)
    rest = torch.zeros(1, 3, requires_grad=True)
    rotation_of(rest)[0, 0, 1].backward()
    assert rest.grad is not None and rest.grad.tolist() == [[0.0, 0.0, -1.0]]


def test_a_corrected_pose_moves_points_first() -> None:
    generator = torch.Generator().manual_seed(0)
    rotation = torch.from_numpy(Rotation.from_rotvec([[0.1, 0.2, 0.3]]).as_matrix()).float()
    pose = torch.cat([rotation, torch.tensor([[[0.1], [0.2], [8.0]]])], 2)
    correction = 0.1 * torch.randn(1, 6, generator=generator)
    point = torch.randn(3, generator=generator)
    turned = rotation_of(correction[:, :3])[0] @ point + correction[0, 3:]
    expected = rotation[0] @ turned + pose[0, :, 3]
    moved = compose(pose, correction)[0]
    torch.testing.assert_close(moved[:, :3] @ point + moved[:, 3], expected)


def test_exposure_is_found_up_to_the_common_factor_and_held_out_frames_keep_theirs() -> None:
    c = FrameCorrections(FRAMES, TRAIN, CorrectionConfig(exposure=2e-2), "cpu")
    true_gain = torch.tensor([1.0, 1.1, 0.9, 1.05, 0.95, 1.0])
    for _ in range(200):
        frames = torch.tensor(TRAIN)
        ((c.gains(frames)[:, 0] - true_gain) ** 2).sum().backward()
        c.step(1.0)
    with torch.no_grad():
        found = c.exposure[list(TRAIN), 0]
        log_true = true_gain.log()
        torch.testing.assert_close(found, log_true - log_true.mean(), atol=0.01, rtol=0)
        assert not c.exposure[6:].any() and abs(float(found.mean())) < 1e-6
        # what all frames have in common belongs to the person, not to the frames
        c.head[list(TRAIN)] += 0.3
    c.head.sum().backward()
    c.step(1.0)
    assert float(c.head.detach()[list(TRAIN)].mean(0).abs().max()) < 1e-6


def test_switched_off_corrections_change_nothing_and_their_state_comes_back() -> None:
    off = FrameCorrections(FRAMES, TRAIN, CorrectionConfig(exposure=0, pose=0), "cpu")
    poses = torch.randn(2, 3, 4)
    assert off.posed(torch.tensor([0, 1]), poses, poses)[0] is poses
    off.step(1.0)
    assert float(off.cost()) == 0 and bool((off.gains(torch.tensor([3])) == 1).all())
    on = FrameCorrections(FRAMES, TRAIN, CorrectionConfig(), "cpu")
    (on.head.sum() + on.torso[1].sum() + on.exposure[2].sum()).backward()
    on.step(1.0)
    again = FrameCorrections(FRAMES, TRAIN, CorrectionConfig(), "cpu")
    again.load_state({name: value.clone() for name, value in on.state().items()})
    for c in (on, again):
        (c.head[0].sum() * 2).backward()
        c.step(0.5)
    torch.testing.assert_close(again.head, on.head)
    assert on.extent()["turn_degrees"] == pytest.approx(again.extent()["turn_degrees"])


def test_frames_counted_on_the_cpu_find_their_poses_on_a_gpu() -> None:
    with OneDevice():
        corrections = FrameCorrections(4, [0, 1, 2], CorrectionConfig(), "meta")
        poses = torch.zeros(4, 3, 4, device="meta")
        head, torso = corrections.posed(torch.arange(4), poses, poses)
        with pytest.raises(RuntimeError, match="tensors on"):
            corrections.head.index_select(0, torch.arange(4))
    assert head.device.type == torso.device.type == "meta" and head.shape == (4, 3, 4)


def test_smoothing_takes_noise_out_and_keeps_what_is_slow() -> None:
    frames, cut, skipped = 200, 120, {60, 61, 62}
    time = np.arange(frames)
    slow = 0.05 * np.sin(time / 25)[:, None] * np.ones(6) + np.where(time < cut, 0, 0.4)[:, None]
    noise = np.random.default_rng(0).normal(0, 0.02, (frames, 6))
    known = [frame for frame in range(frames) if frame not in skipped]
    c = FrameCorrections(frames, known, CorrectionConfig(), "cpu")
    with torch.no_grad():
        for part in c.poses:
            part.copy_(torch.from_numpy(slow + noise))
            part[list(skipped)] = 9.0
    c.smooth(known, time[1:] == cut)
    for part, left in zip(c.poses, (0.65, 0.5), strict=True):
        found = part.detach().numpy()
        assert np.abs(found[known] - slow[known]).std() < left * np.abs(noise[known]).std()
        assert (found[sorted(skipped)] == 9.0).all()
        assert abs(found[cut - 1] - slow[cut - 1]).max() < 0.05 > abs(found[cut] - slow[cut]).max(), "not over the cut"


def test_smoothing_can_be_switched_off() -> None:
    c = FrameCorrections(FRAMES, TRAIN, CorrectionConfig(head_smoothing=0, torso_smoothing=0), "cpu")
    with torch.no_grad():
        c.head.normal_()
    before = c.head.detach().clone()
    c.smooth(range(FRAMES), np.zeros(FRAMES - 1, bool))
    assert torch.equal(c.head.detach(), before)
