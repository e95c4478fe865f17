"""The plate: true where it was seen, smooth where it was not; a camera that moves is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

cv2 = pytest.importorskip("cv2", reason="opencv comes with being[clone]")

from being.capture.layers.separation import over_plate, torso_alone
from being.capture.plate import background_plate, fill_unseen, refuse_moving_camera
from being.dataset.parsing import HEAD, NECK, TORSO
from being.errors import InputError

SIDE = 96


def wall(shift: int = 0) -> NDArray[np.uint8]:
    """A wall of random tiles, seen further to the right by `shift`."""
    tiles = np.random.default_rng(5).integers(0, 255, (24, 40, 3), np.uint8)
    return np.ascontiguousarray(np.kron(tiles, np.ones((6, 6, 1), np.uint8))[:SIDE, shift : SIDE + shift])


def person(x: int) -> NDArray[np.uint8]:
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[40:, x : x + 24] = TORSO
    return labels


def test_what_was_seen_is_true_and_the_rest_is_smooth() -> None:
    labels = [person(x) for x in range(20, 50, 3)]
    frames = [np.where(each[..., None] > 0, 255, wall()).astype(np.uint8) for each in labels]
    plate, seen = background_plate(frames, labels)
    np.testing.assert_array_equal(plate[seen], wall()[seen])
    assert seen[:30].all() and not seen[60:, 47].any()
    flat = np.full((SIDE, SIDE, 3), 90, np.uint8)
    hole = np.ones((SIDE, SIDE), bool)
    hole[30:60, 30:60] = False
    np.testing.assert_allclose(fill_unseen(flat, hole), 90, atol=1)


def test_a_still_camera_passes_and_a_moving_one_does_not() -> None:
    labels = [person(30) for _ in range(8)]
    still = [np.where(each[..., None] > 0, 255, wall()).astype(np.uint8) for each in labels]
    assert refuse_moving_camera(still, labels) < 0.3
    panned = [np.where(each[..., None] > 0, 255, wall(2 * i)).astype(np.uint8) for i, each in enumerate(labels)]
    with pytest.raises(InputError, match="The camera moves"):
        refuse_moving_camera(panned, labels)
    plain = [np.full((SIDE, SIDE, 3), 200, np.uint8)] * 8
    assert refuse_moving_camera(plain, labels) == 0
    # A plain backdrop after encoding: its faint blocks come and go and are no corners to follow.
    random, fade = np.random.default_rng(1), np.linspace(120, 180, SIDE)[None, :, None]
    blocks = [np.kron(random.integers(-1, 2, (12, 12, 1)), np.ones((8, 8, 1))) for _ in range(8)]
    assert (
        refuse_moving_camera([np.broadcast_to(fade + b, (SIDE, SIDE, 3)).astype(np.uint8) for b in blocks], labels) == 0
    )


def test_layers_replace_the_background_and_take_the_head_away() -> None:
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[10:50, 30:66], labels[50:60, 40:56], labels[60:, 16:80] = HEAD, NECK, TORSO
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[labels == HEAD], image[labels == NECK], image[labels == TORSO] = (9, 9, 9), (200, 150, 120), (20, 40, 200)
    shown = over_plate(image, labels, np.full_like(image, 77))
    assert (shown[:8] == 77).all() and (shown[70, 48] == (20, 40, 200)).all()
    alone = torso_alone(image, labels)
    assert (alone[55, 48] == (200, 150, 120, 255)).all()
    assert (alone[46, 48] == (200, 150, 120, 255)).all()  # the neck goes on under the head
    assert alone[15, 48, 3] == 0 and alone[70, 4, 3] == 0
