"""Brows and cheeks: what is raised is found under any pose, and nothing else counts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from being.capture.landmarks.expression import (
    BROW_RANGE,
    BROWS_INNER,
    BROWS_OUTER,
    CHEEK_RANGE,
    CHEEKS,
    action_units,
)
from being.capture.landmarks.head_shape import CHIN, FOREHEAD, PAIRS

FRAMES, LIPS = 90, (0, 13, 14, 17, 61, 291)
MOVED = slice(40, 60)


def faces(raised: tuple[int, ...], by: float) -> np.ndarray:
    """A face that turns, comes nearer and talks; in MOVED, the points `raised` are higher by so many eye distances."""
    random = np.random.default_rng(0)
    rest = random.uniform(-1, 1, (478, 3))
    rest[[FOREHEAD, CHIN]] = [[0, -1, 0], [0, 1, 0]]
    for pair, apart in zip(PAIRS, (1.0, 0.4, 1.5, 1.6), strict=True):  # the outer corners of the eyes one unit
        rest[list(pair)] = [[-apart / 2, 0, 0], [apart / 2, 0, 0]]
    face = np.repeat(rest[None], FRAMES, 0)
    face[:, LIPS, 1] += 0.2 * random.random((FRAMES, 1))
    time = np.arange(FRAMES) / 25
    face[MOVED][:, raised, 1] -= by
    turn = Rotation.from_euler("yxz", np.stack([0.4 * np.sin(time), 0.2 * np.cos(2 * time), 0.1 * time], 1))
    scale = 100 + 10 * np.sin(3 * time)[:, None, None]
    return (scale * face @ turn.as_matrix().transpose(0, 2, 1) + [300, 200, 0]).astype(np.float32)


@pytest.mark.parametrize(
    ("points", "by", "expected"),
    [
        (BROWS_INNER, BROW_RANGE, {"AU01_r": 5.0, "AU02_r": 0.0, "AU06_r": 0.0}),
        (BROWS_OUTER, 0.5 * BROW_RANGE, {"AU01_r": 0.0, "AU02_r": 2.5, "AU04_r": 0.0}),
        (CHEEKS, CHEEK_RANGE, {"AU06_r": 5.0, "AU01_r": 0.0, "AU04_r": 0.0}),
        (BROWS_INNER, -0.02, {"AU04_r": 2.0}),
    ],
)
def test_what_is_raised_is_found(points: tuple[int, ...], by: float, expected: dict[str, float]) -> None:
    found = action_units(faces(points, by))
    for name, intensity in expected.items():
        assert found[name].shape == (FRAMES,) and found[name].dtype == np.float32
        middle = found[name][MOVED][4:-4]
        assert middle == pytest.approx(np.full(len(middle), intensity), abs=0.05), name
        if by > 0:
            assert found[name][:36].max() < 0.05, name


def test_a_still_face_shows_nothing() -> None:
    for name, intensity in action_units(faces(BROWS_INNER, 0.0)).items():
        assert intensity.max() < 0.05, name
