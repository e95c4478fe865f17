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


@pytest.mark.parametrize(("frames", "batch"), [(400, 4), (40, 8)])
def test_a_frame_goes_by_its_rate_each_time_it_is_looked_at(frames: int, batch: int) -> None:
    """Adam alone would go ten times as far in the first case."""
    rate, looks = 1e-3, 0
    c = FrameCorrections(frames, range(frames), CorrectionConfig(pose=rate), "cpu", batch)
    generator = torch.Generator().manual_seed(0)
    turned = torch.zeros(frames)
    for _ in range(12 * frames // batch):
        seen = torch.randperm(frames, generator=generator)[:batch]
        sign = torch.where(seen % 2 == 0, 1.0, -1.0)  # means are taken out: half go up, half down
        (c.head[seen, 0] * sign).sum().backward()
        c.step(1.0)
        turned[seen] += sign
        looks += batch
    went = -(c.head.detach()[:, 0] * turned.sign()).mean() / (looks / frames)
    assert 0.5 * rate < float(went) < 2 * rate
