"""Recorded and wanted expressions: reached without a jump, left again, and the rest as it was recorded."""

from __future__ import annotations

import numpy as np
import pytest

from being.errors import InputError
from being.live.emotion import FRAMES, EmotionTargets, target_values


def recorded(frames: int) -> np.ndarray:
    return np.stack([np.full(frames, 0.2), np.linspace(0, 1, frames)], 1).astype(np.float32)


def test_nothing_asked_is_as_recorded() -> None:
    assert np.array_equal(EmotionTargets(2).shown(recorded(30)), recorded(30))
    assert EmotionTargets(0).shown(np.zeros((3, 0), np.float32)) is None


def test_a_target_is_reached_and_left_slowly() -> None:
    emotion_targets, plain = EmotionTargets(2), recorded(200)
    emotion_targets.ask(np.array([0.9, np.nan], np.float32))
    # In pieces, as a live session takes them: the same as all at once.
    up = np.concatenate([emotion_targets.shown(plain[i : i + 3]) for i in range(0, 60, 3)])  # type: ignore[misc]
    assert up[FRAMES + 1 :, 0] == pytest.approx(np.full(60 - FRAMES - 1, 0.9))
    assert np.array_equal(up[:, 1], plain[:60, 1])
    emotion_targets.ask(np.array([0.1, np.nan], np.float32))
    other = emotion_targets.shown(plain[60:100])
    emotion_targets.ask(np.array([np.nan, np.nan], np.float32))
    back = emotion_targets.shown(plain[100:])
    assert other is not None and back is not None
    assert other[-1, 0] == pytest.approx(0.1) and back[-1, 0] == pytest.approx(0.2)
    steps = np.abs(np.diff(np.concatenate([plain[:1], up, other, back])[:, 0]))
    assert steps.max() < 1.01 / FRAMES


def test_targets_by_name() -> None:
    asked = target_values(("smile", "frown"), {"frown": 0.5})
    assert np.isnan(asked[0]) and asked[1] == 0.5 and asked.dtype == np.float32
    assert np.isnan(target_values(("smile",), {})).all()
    with pytest.raises(InputError, match=r"emotion 'rage' is not known.*Known: smile, frown"):
        target_values(("smile", "frown"), {"rage": 1})
    with pytest.raises(InputError, match="Known: none"):
        target_values((), {"smile": 1})
    with pytest.raises(InputError, match="strength from 0 to 1"):
        target_values(("smile",), {"smile": 1.5})


def test_targets_for_another_avatar_are_refused() -> None:
    with pytest.raises(ValueError, match="1 emotions for an avatar of 2"):
        EmotionTargets(2).ask(np.zeros(1, np.float32))
