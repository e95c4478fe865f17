"""Poses as tracked, in the terms of the person that was trained.

A head that is a little flatter and turns a little further looks the same (the bas-relief ambiguity: Belhumeur, Kriegman
and Yuille 1999), and so does a nearer and smaller one. Training settles on one of them, and the corrections of all
frames with it: they go with the poses. That is no mistake of the tracker, and whoever drew the person by tracked poses
alone would see a head that turns too little. So what the corrections of training frames have in common, a linear
function of the pose, is taken from them and given to every frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from being.training.data.footage import Footage

STILL = 1e-4  # radians, dm: what varies by less is a tracker's noise
LEAST_APART = 1e-3  # of the strongest direction: turns and shifts that go together are fitted as one
FRAMES_EACH = 10  # training frames for each number that is fitted, at least


def adopt_tracked(footage: Footage, corrected: Iterable[Tensor]) -> None:
    """Give footage its tracked poses in the terms of corrected ones: head and torso, (T, 3, 4) each."""
    pairs = zip((footage.head_poses, footage.torso_poses), corrected, strict=True)
    footage.adopt(*(in_terms_of(*pair, footage.train) for pair in pairs))


def in_terms_of(tracked: Tensor, corrected: Tensor, train: Sequence[int]) -> Tensor:
    """Tracked poses (T, 3, 4) with what the corrections to `corrected` (T, 3, 4) in training frames have in common."""
    before, after = (poses.detach().double().cpu().numpy() for poses in (tracked, corrected))
    turned = np.swapaxes(before[:, :, :3], 1, 2)
    turns = Rotation.from_matrix(turned @ after[:, :, :3]).as_rotvec()
    shifts = (turned @ (after - before)[:, :, 3:])[..., 0]
    chosen = list(train)
    terms = _terms(before, chosen)
    found, *_ = np.linalg.lstsq(terms[chosen], np.concatenate([turns, shifts], 1)[chosen], rcond=LEAST_APART)
    common = terms @ found
    out = before.copy()
    out[:, :, :3] = before[:, :, :3] @ Rotation.from_rotvec(common[:, :3]).as_matrix()
    out[:, :, 3] += (before[:, :, :3] @ common[:, 3:, None])[..., 0]
    return torch.from_numpy(out).to(tracked)


def _terms(poses: NDArray[np.float64], train: Sequence[int]) -> NDArray[np.float64]:
    """(T, K) numbers of each pose: one, and turns and shifts from the middle training frame's on, where they vary."""
    middle = poses[train[len(train) // 2]]
    turns = Rotation.from_matrix(poses[:, :, :3] @ middle[:, :3].T).as_rotvec()
    numbers = np.concatenate([turns, poses[:, :, 3] - middle[:, 3]], 1)
    spread = numbers[list(train)].std(0)
    numbers = numbers[:, spread > STILL] / spread[spread > STILL]
    one = np.ones((len(poses), 1))
    return np.concatenate([one, numbers], 1) if len(train) >= FRAMES_EACH * (1 + numbers.shape[1]) else one
