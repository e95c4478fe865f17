"""The plate: true where it was seen, smooth where it was not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

cv2 = pytest.importorskip("cv2", reason="opencv comes with being[clone]")

from being.capture.background.plate import background_plate, fill_unseen
from being.capture.layers.separation import over_plate, torso_alone
from being.dataset.parsing import HEAD, NECK, TORSO

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


def test_cloth_and_hair_beside_the_neck_do_not_go_up() -> None:
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[50:54, 20:76] = NECK  # slivers of it between long hair and the shoulders, too
    labels[8:50, 20:76], labels[54:80, 40:56], labels[60:, 16:40], labels[60:, 56:80] = HEAD, NECK, TORSO, TORSO
    labels[54:60, 16:40] = labels[54:60, 56:80] = TORSO
    image = np.where((labels == NECK)[..., None], (200, 150, 120), (20, 40, 200)).astype(np.uint8)
    alone = torso_alone(image, labels)
    assert (alone[46, 44:52] == (200, 150, 120, 255)).all()
    assert not alone[:50, :36, 3].any() and not alone[:50, 60:, 3].any()


def test_where_a_collar_hides_the_neck_cloth_goes_up_under_the_middle_of_the_head_alone() -> None:
    labels = np.zeros((SIDE, SIDE), np.uint8)
    labels[10:50, 20:76], labels[50:, 10:86] = HEAD, TORSO
    alone = torso_alone(np.full((SIDE, SIDE, 3), 90, np.uint8), labels)
    assert (alone[46, 44:52, 3] == 255).all()
    assert not alone[:50, :34, 3].any() and not alone[:50, 62:, 3].any()


def test_loose_hair_that_no_mask_holds_leaves_no_ghost() -> None:
    """A strand hangs beside the head in every frame and sways; a pole of the wall as thin stands still."""
    random = np.random.default_rng(2)
    scene = np.full((SIDE, SIDE, 3), 180, np.int64)
    scene[:, 64:66] = 30
    labels, frames = [], []
    for index in range(24):
        label = person(34 + index % 3)
        frame = np.where(label[..., None] > 0, 255, scene + random.integers(-1, 2, scene.shape))
        sway = round(1.5 * np.sin(index))
        frame[50:70, 26 + sway : 28 + sway] = (20, 10, 5)
        labels.append(label)
        frames.append(frame.astype(np.uint8))
    plate, seen = background_plate(frames, labels)
    assert np.abs(plate[:, :30].astype(int) - 180).max() < 12 and not seen[52:68, 26:28].any()
    assert np.abs(plate[:, 64:66].astype(int) - 30).max() <= 2 and seen[:, 64:66].all()
