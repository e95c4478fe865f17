"""The person cut out: alpha and colour as they were mixed, and nothing of the old background before a new one."""

from __future__ import annotations

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2", reason="opencv comes with being[clone]")

from being.capture.layers.matting import CutOut, cut_out
from being.dataset.parsing import HEAD

SIDE = 160


def mixed(blur: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A dark textured disc before a bright textured wall: picture, alpha, the disc's colours, labels."""
    y, x = np.mgrid[:SIDE, :SIDE]
    disc = (np.hypot(x - 80, y - 76) < 45).astype(np.float32)
    alpha = cv2.GaussianBlur(disc, (0, 0), blur)
    waves = np.stack([np.sin(x / 9 + k) * 12 + np.cos(y / 11) * 8 for k in range(3)], -1)
    person, wall = waves + np.array((70, 50, 40)), waves[::-1] + np.array((190, 200, 175))
    image = alpha[..., None] * person + (1 - alpha[..., None]) * wall
    return np.round(image).astype(np.uint8), alpha, person, (disc * HEAD).astype(np.uint8)


@pytest.mark.parametrize("blur", [0.7, 1.2])
def test_the_person_is_what_it_was_before_any_background(blur: float) -> None:
    image, alpha, person, labels = mixed(blur)
    found = cut_out(image, labels)
    rim = (alpha > 0.02) & (alpha < 0.98)
    assert np.abs(found.alpha - alpha)[rim].mean() < 0.05
    soft = cv2.blur((labels > 0).astype(np.float32), (3, 3))
    hard = CutOut(soft, image * soft[..., None])  # what a blurred mask would give
    for colour in ((255, 255, 255), (0, 0, 0), (0, 177, 64)):
        behind = np.broadcast_to(np.array(colour, np.uint8), image.shape)
        right = alpha[..., None] * person + (1 - alpha[..., None]) * behind
        error, usual = (np.abs(each.over(behind) - right)[rim].mean() for each in (found, hard))
        assert error < 9 and error < 0.8 * usual
    assert (found.colour <= 255 * found.alpha[..., None] + 1e-3).all()
    assert (found.alpha[labels.sum(0).argmax()] <= 1).all() and found.alpha[2, 2] == 0 and found.alpha[76, 80] == 1


def test_the_same_colour_on_both_sides_leaves_the_labels() -> None:
    plain = np.full((SIDE, SIDE, 3), 120, np.uint8)
    _, _, _, labels = mixed(1.0)
    found = cut_out(plain, labels)
    far = cv2.erode((labels > 0).astype(np.uint8), np.ones((9, 9))) > 0
    assert (found.alpha[far] == 1).all() and np.isfinite(found.colour).all()
    assert found.alpha[cv2.dilate((labels > 0).astype(np.uint8), np.ones((9, 9))) == 0].max() == 0
    nobody = cut_out(plain, np.zeros((SIDE, SIDE), np.uint8))
    assert nobody.alpha.max() == 0
