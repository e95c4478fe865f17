"""A zoom found in the background behind a person, and told from a camera that walks, a still one and a plain wall."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

cv2 = pytest.importorskip("cv2", reason="opencv comes with being[clone]")

from being.capture.background.zoom import scale_at, zoom_of
from being.dataset.parsing import HEAD

SIDE, FRAMES = 192, 100
SCALES = 1 + 0.12 * np.sin(2 * np.pi * np.arange(FRAMES) / 90)


def wall() -> NDArray[np.uint8]:
    random = np.random.default_rng(5)
    picture = cv2.GaussianBlur(random.integers(60, 160, (2 * SIDE, 2 * SIDE, 3), np.uint8), (0, 0), 2.0)
    for _ in range(160):
        x, y = random.integers(0, 2 * SIDE - 24, 2)
        cv2.rectangle(picture, (x, y), (x + 20, y + 13), random.integers(20, 220, 3).tolist(), -1)
    return np.asarray(picture, np.uint8)


def film(place: NDArray[np.uint8], scales: NDArray[np.float64]) -> tuple[list[NDArray], list[NDArray]]:
    """Pictures that a hand takes of the wall at these scales, a plain person before it, and their labels."""
    pictures, labels = [], []
    for index, scale in enumerate(scales):
        matrix = cv2.getRotationMatrix2D((SIDE, SIDE), 1.5 * np.sin(index), scale)
        matrix[:, 2] += (2 * np.sin(0.7 * index) - SIDE / 2, 2 * np.cos(0.9 * index) - SIDE / 2)
        picture = cv2.warpAffine(place, matrix, (SIDE, SIDE))
        label = np.zeros((SIDE, SIDE), np.uint8)
        cv2.circle(label, (96 + int(8 * np.sin(0.1 * index)), 110), int(34 * scale), HEAD, -1)
        pictures.append(np.where(label[..., None] > 0, 200, picture).astype(np.uint8))
        labels.append(label)
    return pictures, labels


def test_a_zoom_is_found_in_every_frame() -> None:
    sway = 1 + 0.01 * np.sin(0.3 * np.arange(FRAMES))  # the person moves, too
    zoom = zoom_of(*film(wall(), SCALES), 8.0 * sway / SCALES)
    assert zoom is not None and zoom.shape == (FRAMES,)
    away = np.abs(zoom - SCALES / np.median(SCALES))
    assert np.sqrt(np.square(away).mean()) < 0.004 and away.max() < 0.012


def test_a_camera_that_walks_does_not_zoom() -> None:
    """Two decimetres nearer to the wall is also two nearer to the head, which grows more."""
    nearer = 14.0 - 14.0 / SCALES
    assert zoom_of(*film(wall(), SCALES), 7.0 - nearer) is None


def test_a_hand_and_a_plain_wall_show_no_zoom() -> None:
    hand = 1 + 0.01 * np.sin(0.2 * np.arange(FRAMES))
    assert zoom_of(*film(wall(), hand), 8.0 / hand) is None
    assert zoom_of(*film(np.full((2 * SIDE, 2 * SIDE, 3), 128, np.uint8), SCALES), 8.0 / SCALES) is None


def test_the_scale_of_a_homography_is_that_around_a_place() -> None:
    matrix = np.array([[1.2, 0.1, 5.0], [-0.05, 1.1, 3.0], [1e-4, -2e-4, 1.0]])
    place, step = np.array([80.0, 60.0]), 1e-4

    def moved(point: NDArray) -> NDArray:
        there = matrix @ np.append(point, 1.0)
        return there[:2] / there[2]

    columns = [(moved(place + step * axis) - moved(place - step * axis)) / (2 * step) for axis in np.eye(2)]
    assert scale_at(matrix, place) == pytest.approx(np.sqrt(np.linalg.det(np.stack(columns, 1))), rel=1e-6)
