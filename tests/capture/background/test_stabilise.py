"""Views of one wall laid together, by a camera that turns and zooms and changes exposure; and what cannot be laid."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

cv2 = pytest.importorskip("cv2", reason="opencv comes with being[clone]")

from being.capture.background.stabilise import lay_together
from being.dataset.parsing import HEAD

SIDE, FRAMES = 256, 12


def place(seed: int = 3) -> NDArray[np.uint8]:
    """A wall twice the size of the picture, with pictures on it."""
    random = np.random.default_rng(seed)
    wall = cv2.GaussianBlur(random.integers(60, 160, (2 * SIDE, 2 * SIDE, 3), np.uint8), (0, 0), 2.0)
    for _ in range(140):
        x, y = random.integers(0, 2 * SIDE - 30, 2)
        cv2.rectangle(wall, (x, y), (x + 24, y + 16), random.integers(20, 220, 3).tolist(), -1)
    return np.asarray(wall, np.uint8)


def person(index: int) -> NDArray[np.uint8]:
    labels = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(labels, (116 + 2 * index, 160), (40, 80), 0, 0, 360, HEAD, -1)
    return labels


def view(wall: NDArray[np.uint8], index: int, gain: float = 1.0) -> NDArray[np.uint8]:
    """What a hand and a zoom see of the wall, the person in white before it."""
    swing = index - FRAMES // 2
    zoom, shift = 1 + 0.012 * swing, np.array([80 + 3.0 * swing, 80 - 1.5 * swing])
    matrix = np.array([[zoom, 0.004 * swing, shift[0]], [-0.004 * swing, zoom, shift[1]]])
    seen = cv2.warpAffine(wall, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    seen = np.clip(seen * gain, 0, 255)
    return np.where(person(index)[..., None] > 0, 255, seen).astype(np.uint8)


def test_the_plate_is_the_wall_seen_from_the_middle_of_the_way() -> None:
    wall, labels = place(), [person(i) for i in range(FRAMES)]
    gains = np.where(np.arange(FRAMES) % 3 == 0, 0.9, 1.0)
    frames = [view(wall, i, gains[i]) for i in range(FRAMES)]
    laid = lay_together(frames, labels, workers=2)
    assert laid is not None
    views = [cv2.warpAffine(wall, m, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP) for m in _matrices()]
    near = [np.abs(laid.plate.astype(float) - each)[laid.seen].mean() for each in views]
    central = int(np.argmin(near))
    assert near[central] < 7 and abs(central - FRAMES // 2) <= 2  # half a pixel's blur, and 0 to 10% of exposure
    assert 0.5 < laid.seen.mean() < 1
    assert laid.plate[laid.seen].max() < 235  # the person, white, is not in it


def _matrices() -> list[NDArray[np.float64]]:
    out = []
    for index in range(FRAMES):
        swing = index - FRAMES // 2
        zoom = 1 + 0.012 * swing
        out.append(np.array([[zoom, 0.004 * swing, 80 + 3.0 * swing], [-0.004 * swing, zoom, 80 - 1.5 * swing]]))
    return out


def test_other_places_and_plain_walls_are_not_laid_together() -> None:
    labels = [person(i) for i in range(FRAMES)]
    assert lay_together([view(place(seed=i), i) for i in range(FRAMES)], labels) is None
    plain = [np.where(each[..., None] > 0, 255, 128).astype(np.uint8) for each in labels]
    assert lay_together([np.broadcast_to(p, (SIDE, SIDE, 3)).copy() for p in plain], labels) is None
