"""Lips and sound of a performance, nothing drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from being.audio.features import STEPS_PER_FRAME
from being.synthetic import rig
from being.synthetic.lips import AHEAD, mouth_landmarks, write_lips
from being.synthetic.performance import listen, plan


def test_a_mouth_that_speaks_opens_as_its_lips_are_apart(tmp_path: Path) -> None:
    clip = plan(3.0, seed=1)
    lips = mouth_landmarks(clip)
    gap = lips[:, 14, 1] - lips[:, 18, 1]
    assert lips.shape == (clip.frames, 20, 2) and np.ptp(gap) > 0.05
    apart = [sum(rig.lip_gap(clip.state(index))) for index in range(clip.frames)]
    assert np.corrcoef(gap, apart)[0, 1] > 0.99

    write_lips(clip, tmp_path / "lips.npz")
    with np.load(tmp_path / "lips.npz") as kept:
        assert kept["steps"].shape == (STEPS_PER_FRAME * clip.frames + AHEAD, 32)
        assert kept["steps"].dtype == np.uint8 and kept["lips"].dtype == np.float16
        np.testing.assert_allclose(kept["lips"], lips, atol=1e-3)


def test_nobody_who_is_silent_moves_the_lips() -> None:
    assert np.ptp(mouth_landmarks(listen(2.0)), axis=0).max() < 0.05
