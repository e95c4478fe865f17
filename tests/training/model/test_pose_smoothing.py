"""Corrections of poses are smoothed as far as the pictures bear it, and no further."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from being.training.config import CorrectionConfig
from being.training.model.corrections import FrameCorrections
from being.training.model.pose_smoothing import smooth_poses, smoothed

FRAMES, CUT, SKIPPED = 200, 120, {60, 61, 62}
TIME = np.arange(FRAMES)
SLOW = 0.05 * np.sin(TIME / 25)[:, None] * np.ones(6) + np.where(TIME < CUT, 0, 0.4)[:, None]
NODS = SLOW + 0.05 * np.sin(TIME / 1.2)[:, None]
NOISE = np.random.default_rng(0).normal(0, 0.02, (FRAMES, 6))
KNOWN = [frame for frame in range(FRAMES) if frame not in SKIPPED]
BREAKS = TIME[1:] == CUT


def corrections_of(values: NDArray[np.float64], config: CorrectionConfig | None = None) -> FrameCorrections:
    c = FrameCorrections(FRAMES, KNOWN, config or CorrectionConfig(), "cpu")
    with torch.no_grad():
        for part in c.poses:
            part.copy_(torch.from_numpy(values))
            part[list(SKIPPED)] = 9.0
    return c


def nearness(c: FrameCorrections, truth: NDArray[np.float64]) -> Callable[[], float]:
    """Decibels by which all poses are as in truth."""
    return lambda: float(
        -10 * np.log10(sum(np.square(part.detach().numpy()[KNOWN] - truth[KNOWN]).mean() for part in c.poses) + 1e-12)
    )


@pytest.mark.parametrize(("deviation", "left"), [(1.0, 0.65), (2.0, 0.5)])
def test_smoothing_takes_noise_out_and_keeps_what_is_slow(deviation: float, left: float) -> None:
    values = torch.from_numpy(SLOW + NOISE)
    values[list(SKIPPED)] = 9.0
    found = smoothed(values, deviation, KNOWN, BREAKS).numpy()
    assert np.abs(found[KNOWN] - SLOW[KNOWN]).std() < left * np.abs(NOISE[KNOWN]).std()
    assert (found[sorted(SKIPPED)] == 9.0).all()
    assert abs(found[CUT - 1] - SLOW[CUT - 1]).max() < 0.05 > abs(found[CUT] - SLOW[CUT]).max(), "not over the cut"


def test_noise_is_smoothed_as_far_as_asked_for() -> None:
    c = corrections_of(SLOW + NOISE)
    fidelity = nearness(c, SLOW)
    before = fidelity()
    assert smooth_poses(c, KNOWN, BREAKS, fidelity) == {"head": 1.0, "torso": 2.0}
    assert fidelity() > before + 3


def test_what_the_pictures_show_is_left_alone() -> None:
    c = corrections_of(NODS)
    assert smooth_poses(c, KNOWN, BREAKS, nearness(c, NODS)) == {"head": 0.0, "torso": 0.0}
    for part in c.poses:
        np.testing.assert_allclose(part.detach().numpy()[KNOWN], NODS[KNOWN], atol=1e-6)


def test_the_strongest_is_taken_where_pictures_tell_no_difference() -> None:
    c = corrections_of(NODS)
    assert smooth_poses(c, KNOWN, BREAKS, lambda: 30.0) == {"head": 1.0, "torso": 2.0}


def test_it_can_be_switched_off() -> None:
    c = corrections_of(NODS, CorrectionConfig(head_smoothing=0, torso_smoothing=0))
    before = [part.detach().clone() for part in c.poses]
    assert smooth_poses(c, KNOWN, BREAKS, lambda: 30.0) == {"head": 0.0, "torso": 0.0}
    assert all(torch.equal(part, old) for part, old in zip(c.poses, before, strict=True))
    assert smooth_poses(corrections_of(NODS, CorrectionConfig(pose=0)), KNOWN, BREAKS, lambda: 30.0) == {}
