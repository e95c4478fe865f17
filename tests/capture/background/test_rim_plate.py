"""What is behind every frame: the same before a still camera, a part of a place before one that moves."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

cv2 = pytest.importorskip("cv2", reason="opencv comes with being[clone]")

from being.capture.background.rim_plate import StillPlate, WanderingPlate, rim_plate
from being.capture.parsing.colour_models import lab_of
from being.dataset.parsing import HEAD

SIDE, FRAMES = 160, 16
Picture = NDArray[np.uint8]


def place(seed: int = 3) -> Picture:
    """A wall wider than a picture, with pictures on it."""
    random = np.random.default_rng(seed)
    wall = cv2.GaussianBlur(random.integers(60, 160, (SIDE, 2 * SIDE, 3), np.uint8), (0, 0), 2.0)
    for _ in range(90):
        x, y = int(random.integers(0, 2 * SIDE - 20)), int(random.integers(0, SIDE - 12))
        cv2.rectangle(wall, (x, y), (x + 16, y + 10), random.integers(20, 220, 3).tolist(), -1)
    return np.asarray(wall, np.uint8)


def shift(index: int) -> int:
    """Pixels by which the camera has panned: half a picture in the end."""
    return 40 + 5 * index


def labels_of(index: int, pans: bool) -> Picture:
    """A person who walks through the room; the camera pans the other way, or stands still."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    centre = 125 - 2 * index if pans else 60 + 3 * index
    cv2.ellipse(labels, (centre, 110), (22, 60), 0, 0, 360, HEAD, -1)
    return labels


def before(wall: Picture, labels: Picture, moved: int) -> Picture:
    return np.where(labels[..., None] > 0, 255, wall[:, moved : moved + SIDE]).astype(np.uint8)


def test_a_panned_place_is_laid_under_every_frame() -> None:
    wall, labels = place(), [labels_of(i, True) for i in range(FRAMES)]
    frames = [before(wall, labels[i], shift(i)) for i in range(FRAMES)]
    found = rim_plate(frames, [lab_of(frame) for frame in frames], labels)
    assert isinstance(found, WanderingPlate)
    assert found.behind.plate.shape[1] > SIDE + 30
    for index in (0, 7, FRAMES - 1):
        behind = found.under(frames[index], (labels[index] > 0).astype(np.float32))
        assert behind is not None
        sure = behind.trust > 0.5
        assert sure.mean() > 0.4
        right = lab_of(np.ascontiguousarray(wall[:, shift(index) : shift(index) + SIDE])).astype(np.float32)
        apart = np.abs(behind.plate - right).mean(-1)
        assert np.median(apart[sure]) < 3 and behind.plate[sure].max() < 235  # the person, white, is not in it
        hidden = sure & (labels[index] > 0)  # also where the person stands now
        assert hidden.sum() > 200 and np.median(apart[hidden]) < 4


def test_a_still_camera_has_one_plate() -> None:
    wall, labels = place(), [labels_of(i, False) for i in range(FRAMES)]
    frames = [before(wall, each, 40) for each in labels]
    found = rim_plate(frames, [lab_of(frame) for frame in frames], labels)
    assert isinstance(found, StillPlate)
    behind = found.under(frames[0], (labels[0] > 0).astype(np.float32))
    assert behind is found.under(frames[5], np.zeros((SIDE, SIDE), np.float32)) is found.behind
    right = lab_of(np.ascontiguousarray(wall[:, 40 : 40 + SIDE])).astype(np.float32)
    assert np.abs(behind.plate - right)[behind.trust > 0.5].max() <= 1


def test_other_places_have_none() -> None:
    labels = [labels_of(i, True) for i in range(FRAMES)]
    frames = [before(place(seed=i), labels[i], shift(i)) for i in range(FRAMES)]
    assert rim_plate(frames, [lab_of(frame) for frame in frames], labels) is None
    wall = place()
    panned = [before(wall, labels[i], shift(i)) for i in range(FRAMES)]
    found = rim_plate(panned, [lab_of(frame) for frame in panned], labels)
    assert found is not None
    assert found.under(before(place(seed=9), labels[0], 40), (labels[0] > 0).astype(np.float32)) is None
