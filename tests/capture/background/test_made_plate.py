"""A plate that nobody filmed: a blur of what was seen, a colour, a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cv2", reason="opencv comes with being[clone]")

from being.capture.background.found import FILMED, BackgroundMotion
from being.capture.background.made_plate import check_background, made_plate, plate_of
from being.capture.background.plate import background_plate
from being.errors import InputError

SIDE = 64
NOISE = np.random.default_rng(1).integers(0, 255, (6, SIDE, SIDE, 3), np.uint8)
LABELS = np.zeros((6, SIDE, SIDE), np.uint8)
LABELS[:, 20:, 20:44] = 1


def test_a_blur_has_the_colours_of_the_place_and_none_of_its_edges() -> None:
    frames = [np.where(LABELS[0][..., None] > 0, 255, 0.3 * noise).astype(np.uint8) for noise in NOISE]
    plate, shows = made_plate(None, frames, list(LABELS))
    np.testing.assert_array_equal(plate, made_plate("blur", frames, list(LABELS))[0])
    assert "blur" in shows
    assert plate.std() < 6 and abs(float(plate.mean()) - 38) < 6  # the person, who is white, is not in it


def test_a_colour_and_a_picture(tmp_path: Path) -> None:
    colour, _ = made_plate("#204060", list(NOISE), list(LABELS))
    assert colour.shape == (SIDE, SIDE, 3) and (colour == (0x20, 0x40, 0x60)).all()
    Image.new("RGB", (200, 100), (9, 8, 7)).save(tmp_path / "mine.png")
    asked = check_background(str(tmp_path / "mine.png"))
    picture, shows = made_plate(asked, list(NOISE), list(LABELS))
    assert (picture == (9, 8, 7)).all()
    assert "mine.png" in shows and str(tmp_path) not in shows


@pytest.mark.parametrize("asked", ["none", "plate", "#12", "nowhere.png"])
def test_what_cannot_stand_behind_anybody(asked: str) -> None:
    with pytest.raises(InputError):
        check_background(asked)


def test_the_first_way_that_works_is_taken() -> None:
    still, moving = BackgroundMotion(0.0, True, False), BackgroundMotion(9.0, False, False)
    frames, labels = list(NOISE), list(LABELS)
    plate, seen, shows = plate_of(frames, labels, still)
    assert shows == FILMED and seen[:10].all() and not seen[50, 30]
    np.testing.assert_array_equal(plate, background_plate(frames, labels)[0])
    plate, seen, shows = plate_of(frames, labels, moving)  # noise has no one place
    assert shows.startswith("made") and not seen.any()
    assert plate_of(frames, labels, still, "#ff0000")[2] == "given: #ff0000"
