"""Whether the background stands still: walls that do, that slide, that change, and that show nothing to follow."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

cv2 = pytest.importorskip("cv2", reason="opencv comes with being[clone]")

from being.capture.background.camera_motion import background_motion
from being.dataset.parsing import TORSO

SIDE = 96


def wall(shift: int = 0, seed: int = 5) -> NDArray[np.uint8]:
    """A wall of random tiles, seen further to the right by `shift`."""
    tiles = np.random.default_rng(seed).integers(0, 255, (24, 40, 3), np.uint8)
    return np.ascontiguousarray(np.kron(tiles, np.ones((6, 6, 1), np.uint8))[:SIDE, shift : SIDE + shift])


LABELS = [np.zeros((SIDE, SIDE), np.uint8) for _ in range(8)]
for each in LABELS:
    each[40:, 30:54] = TORSO


def before(walls: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    return [
        np.where(labels[..., None] > 0, 255, behind).astype(np.uint8)
        for labels, behind in zip(LABELS, walls, strict=True)
    ]


def test_a_still_camera_is_told_from_a_moving_one() -> None:
    still = background_motion(before([wall() for _ in LABELS]), LABELS)
    assert still.still and still.shift < 0.3 and "stands still" in str(still)
    panned = background_motion(before([wall(2 * i) for i in range(len(LABELS))]), LABELS)
    assert not panned.still and not panned.changes
    assert panned.shift == pytest.approx(2 * (len(LABELS) - 1), abs=3) and "moves" in str(panned)


def test_another_background_is_no_shift() -> None:
    changed = background_motion(before([wall(seed=5 + i // 3) for i in range(len(LABELS))]), LABELS)
    assert not changed.still and changed.changes and "changes" in str(changed)


def test_a_plain_wall_stands_still() -> None:
    plain = [np.full((SIDE, SIDE, 3), 200, np.uint8)] * 8
    assert background_motion(plain, LABELS).shift == 0
    # A plain backdrop after encoding: its faint blocks come and go and are no corners to follow.
    random, fade = np.random.default_rng(1), np.linspace(120, 180, SIDE)[None, :, None]
    blocks = [np.kron(random.integers(-1, 2, (12, 12, 1)), np.ones((8, 8, 1))) for _ in range(8)]
    pictures = [np.broadcast_to(fade + block, (SIDE, SIDE, 3)).astype(np.uint8) for block in blocks]
    assert background_motion(pictures, LABELS) == background_motion(plain, LABELS)


def test_faint_corners_that_wander_are_noise() -> None:
    fade = np.linspace(120, 180, SIDE)[None, :, None] + np.zeros((SIDE, SIDE, 3))
    pictures = []
    for index in range(len(LABELS)):
        spots = np.random.default_rng(2).integers(0, 2, (24, 24, 1)) * 5.0
        wandering = np.roll(np.kron(spots, np.ones((4, 4, 1))), index, axis=1)
        pictures.append((fade + wandering).astype(np.uint8))
    found = background_motion(pictures, LABELS)
    assert found.still and found.shift < 0.006 * SIDE, "what means nothing is not told as sway"
