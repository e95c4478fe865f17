"""Which drives are refused, and which numbers pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from being.errors import InputError
from being.inference.check import all_finite, check_drive
from being.inference.frames import Drive
from being.model.network import NetworkConfig

CONFIG = NetworkConfig(audio_width=4)


def drive() -> Drive:
    pose = np.eye(3, 4, dtype=np.float32)
    return Drive("tiny", np.ones((8, 16, 4), np.float32), 0.5, pose, pose)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["context", "head_pose", "torso_pose"])
def test_numbers_that_are_not_finite_are_refused(field: str, bad: float, kind: type) -> None:
    value = getattr(drive(), field).astype(kind)
    value[-1, -1] = bad
    with pytest.raises(InputError, match=f"{field} holds NaN or infinity"):
        check_drive(replace(drive(), **{field: value}), CONFIG, 64, 64)


def test_large_numbers_and_lists_pass() -> None:
    """Squares of these overflow."""
    given = replace(drive(), context=np.full((8, 16, 4), 1e30, np.float32), head_pose=np.eye(3, 4).tolist())
    check_drive(given, CONFIG, 64, 64)
    assert not all_finite([given]), "not known, only"


def test_numbers_of_many_drives_are_looked_at_once() -> None:
    assert all_finite([]) and all_finite([drive(), replace(drive(), emotion=np.zeros(3, np.float32))])
    assert not all_finite([replace(drive(), head_pose=np.eye(3, 4))]), "other kinds of numbers are not known"
    check_drive(replace(drive(), head_pose=np.full((3, 4), np.nan)), CONFIG, 64, 64, finite=True)


@pytest.mark.parametrize("field", ["context", "head_pose", "torso_pose", "emotion"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_number_among_many_drives_is_found(field: str, bad: float) -> None:
    value = np.zeros((3, 4), np.float32)
    value[1, 2] = bad
    assert not all_finite([drive(), replace(drive(), **{field: value}), drive()])
