"""Tracked poses in the terms of a person whose corrections go with the poses."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from being.training.model.corrections import compose
from being.training.quality.tracked_poses import in_terms_of

FRAMES = 120
TRAIN = range(100)


def poses(rng: np.random.Generator) -> torch.Tensor:
    turns = 0.15 * np.sin(np.arange(FRAMES)[:, None] / (7.0, 11.0, 17.0)) + rng.normal(0, 0.01, (FRAMES, 3))
    shifts = np.array([0, 0, 8.0]) + rng.normal(0, 0.1, (FRAMES, 3))
    return torch.from_numpy(np.concatenate([Rotation.from_rotvec(turns).as_matrix(), shifts[..., None]], 2)).float()


def test_a_head_that_turns_further_in_all_frames_does_so_in_those_held_out() -> None:
    rng = np.random.default_rng(0)
    tracked = poses(rng)
    turns = Rotation.from_matrix(tracked[:, :, :3].numpy()).as_rotvec()
    common = torch.from_numpy(np.concatenate([0.1 * turns, np.full((FRAMES, 3), 0.02)], 1)).float()
    single = 0.002 * torch.randn(FRAMES, 6, generator=torch.Generator().manual_seed(0))
    corrected = compose(tracked, common + single)
    corrected[100:] = compose(tracked, common)[100:]
    found = in_terms_of(tracked, corrected, TRAIN)
    assert float((found - corrected)[100:].abs().max()) < 0.006 < float((tracked - corrected)[100:].abs().max())
    assert found.dtype == tracked.dtype


def test_what_is_single_frames_own_is_left_out() -> None:
    tracked = poses(np.random.default_rng(1))
    single = 0.01 * torch.randn(FRAMES, 6, generator=torch.Generator().manual_seed(1))
    found = in_terms_of(tracked, compose(tracked, single), TRAIN)
    assert float((found - tracked).abs().mean()) < 0.3 * float((compose(tracked, single) - tracked).abs().mean())


def test_few_frames_share_a_mean_alone_and_poses_that_rest_tell_nothing() -> None:
    tracked = poses(np.random.default_rng(2))
    moved = torch.tensor([0.01, 0.02, 0.0, 0.0, 0.1, 0.0]).expand(FRAMES, 6)
    for some, train in ((tracked, range(20)), (tracked[:1].expand(FRAMES, 3, 4), TRAIN)):
        wanted = compose(some, moved)
        torch.testing.assert_close(in_terms_of(some, wanted, train), wanted, atol=1e-5, rtol=0)
