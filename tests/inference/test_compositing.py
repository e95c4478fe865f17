"""Backgrounds: what a user may name, how pictures cover a frame, and how the camera follows the crop."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from being.errors import InputError
from being.inference.compositing import (
    Colour,
    Picture,
    PictureFile,
    Plate,
    Transparent,
    backdrop,
    cover_fit,
    fit_intrinsics,
    parse_background,
    straight_colours,
)


def test_names(tmp_path: Path) -> None:
    assert parse_background("plate") == Plate()
    assert parse_background("none") == Transparent()
    assert parse_background("#0a14FF") == Colour(10, 20, 255)
    Image.new("RGBA", (3, 2), (1, 2, 3, 255)).save(tmp_path / "room.png")
    picture = parse_background(str(tmp_path / "room.png"))
    assert (
        isinstance(picture, Picture)
        and picture.pixels.shape == (2, 3, 3)
        and picture.pixels[0, 0].tolist() == [1, 2, 3]
    )


@pytest.mark.parametrize("text", ["#12", "#gggggg", "room.png", ""])
def test_wrong_names_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="background"):
        parse_background(text)


def test_damaged_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "room.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(InputError, match=r"room\.png: is not a picture"):
        parse_background(str(tmp_path / "room.png"))


def test_a_picture_that_travels_as_a_file() -> None:
    file = io.BytesIO()
    Image.new("RGB", (30, 20), (9, 8, 7)).save(file, "PNG")
    packed = PictureFile("room", file.getvalue())
    assert packed == PictureFile("room", b"") != PictureFile("garden", file.getvalue()), "compared by name alone"
    assert (backdrop(packed, np.zeros((4, 4, 3), np.uint8), 12, 8) == (9, 8, 7)).all()


def test_same_size_is_untouched() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    assert np.array_equal(cover_fit(pixels, 8, 6), pixels)


def test_cover_crops_the_overhang_evenly() -> None:
    pixels = np.zeros((10, 40, 3), np.uint8)
    pixels[:, 15:25] = 200  # the middle quarter
    assert (cover_fit(pixels, 10, 10) == 200).all()
    assert cover_fit(pixels, 33, 57).shape == (57, 33, 3)


@pytest.mark.parametrize("size", [(64, 48), (128, 96), (48, 64), (200, 20), (33, 57)])
def test_camera_follows_the_crop(size: tuple[int, int]) -> None:
    """A mark in the plate stays on the point of the scene that projected onto it."""
    width, height = 320, 240
    intrinsics = (500.0, 500.0, 150.0, 110.0)
    scene = np.array([0.02, -0.01, 1.0])

    def projected(camera: tuple[float, float, float, float]) -> tuple[float, float]:
        return camera[0] * scene[0] + camera[2], camera[1] * scene[1] + camera[3]

    x, y = projected(intrinsics)
    rows, columns = np.mgrid[0:height, 0:width]
    mark = np.exp(-((columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2) / (2 * 12**2))
    plate = np.repeat((mark * 255).astype(np.uint8)[..., None], 3, axis=2)
    fitted = cover_fit(plate, *size)[..., 0].astype(float)
    weight = np.maximum(fitted - 100, 0)
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    found = ((columns + 0.5) * weight).sum() / weight.sum(), ((rows + 0.5) * weight).sum() / weight.sum()
    expected = projected(fit_intrinsics(intrinsics, (width, height), *size))
    if size == (200, 20):  # the mark is cut by the narrow frame: only the long side can be compared
        found, expected = (found[0], 0), (expected[0], 0)
    assert found == pytest.approx(expected, abs=0.3)


def test_backdrops() -> None:
    plate = np.full((4, 4, 3), 7, np.uint8)
    assert (backdrop(Plate(), plate, 4, 4) == 7).all()
    assert (backdrop(Transparent(), plate, 4, 4) == 0).all()
    assert backdrop(Colour(1, 2, 3), plate, 2, 3).tolist() == [[[1, 2, 3]] * 2] * 3
    assert (backdrop(Picture(np.full((2, 2, 3), 9, np.uint8)), plate, 4, 4) == 9).all()


def test_straight_colours_undo_premultiplication() -> None:
    alpha = np.array([[1.0, 0.5, 0.0]], np.float32)
    premultiplied = alpha[..., None] * np.array([0.2, 0.4, 0.8], np.float32)
    rgb, coverage = straight_colours(premultiplied, alpha)
    assert rgb[0, 0].tolist() == rgb[0, 1].tolist() == [51, 102, 204]
    assert rgb[0, 2].tolist() == [0, 0, 0] and coverage[0].tolist() == [255, 128, 0]
