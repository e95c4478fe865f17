"""Which drives are refused, and which numbers pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from being.errors import InputError
from being.inference.check import check_drive
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
