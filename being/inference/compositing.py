"""What stands behind the avatar: its own plate, a colour, a picture, or nothing."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from being.errors import InputError

Pixels = npt.NDArray[np.uint8]

MAX_PICTURE_SIDE = 16_384


@dataclass(frozen=True)
class Plate:
    """The room the avatar was recorded in."""


@dataclass(frozen=True)
class Colour:
    """One colour, sRGB 0..255."""

    red: int
    green: int
    blue: int

    def __post_init__(self) -> None:
        if not all(0 <= value <= 255 for value in (self.red, self.green, self.blue)):
            raise InputError(f"colour {self.red}, {self.green}, {self.blue}: each must lie in 0..255")


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that fills the frame, cropped evenly; (H, W, 3) uint8 RGB. Compared by identity."""

    pixels: Pixels

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != np.uint8 or not self.pixels.size:
            raise InputError(f"background picture is {self.pixels.shape} {self.pixels.dtype}, expected uint8 RGB")


@dataclass(frozen=True)
class PictureFile:
    """A picture as the bytes of its file: small enough to travel with every frame. Compared by name alone."""

    name: str
    data: bytes = field(compare=False, repr=False)


@dataclass(frozen=True)
class Transparent:
    """Nothing: the record's alpha says where the avatar is, and its colours are straight (not premultiplied)."""


Background = Plate | Colour | Picture | PictureFile | Transparent


def parse_background(text: str) -> Background:
    """The background a user names: "plate", "none", "#rrggbb", or the path of a picture.

    Raises
    ------
    InputError
        Where it is none of these or the picture cannot be read.
    """
    if text == "plate":
        return Plate()
    if text == "none":
        return Transparent()
    if text.startswith("#"):
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
            raise InputError(f"background {text!r} is not a colour", "Write it as #rrggbb, for example #204060")
        return Colour(*bytes.fromhex(text[1:]))
    path = Path(text)
    if not path.is_file():
        raise InputError(
            f"background {text!r} is neither plate, none, #rrggbb, nor a picture file", "Check the path of the picture"
        )
    return Picture(_read_picture(path, str(path)))


def cover_scale(source: tuple[int, int], target: tuple[int, int]) -> float:
    """The scale at which `source` (width, height) just covers `target`: the larger of the two ratios."""
    return max(target[0] / source[0], target[1] / source[1])


def cover_fit(pixels: Pixels, width: int, height: int) -> Pixels:
    """Resize to cover (width, height) and crop the overhang evenly: (height, width, 3) uint8, C-contiguous."""
    if pixels.shape[:2] == (height, width):
        return np.ascontiguousarray(pixels)
    from PIL import Image

    source_height, source_width = pixels.shape[:2]
    scale = cover_scale((source_width, source_height), (width, height))
    crop_width, crop_height = width / scale, height / scale
    left, top = (source_width - crop_width) / 2, (source_height - crop_height) / 2
    box = (max(left, 0), max(top, 0), min(left + crop_width, source_width), min(top + crop_height, source_height))
    resized = Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS, box=box)
    return np.asarray(resized, np.uint8).copy()


def fit_intrinsics(
    intrinsics: tuple[float, float, float, float], recorded: tuple[int, int], width: int, height: int
) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy for a frame of another size: `recorded` (width, height) scaled and cropped as by `cover_fit`."""
    fx, fy, cx, cy = intrinsics
    scale = cover_scale(recorded, (width, height))
    return (
        fx * scale,
        fy * scale,
        (cx - recorded[0] / 2) * scale + width / 2,
        (cy - recorded[1] / 2) * scale + height / 2,
    )


def backdrop(background: Background, plate: Pixels, width: int, height: int) -> Pixels:
    """The pixels behind the avatar, (height, width, 3) uint8; black for `Transparent`. plate: the avatar's own."""
    if isinstance(background, Plate):
        return cover_fit(plate, width, height)
    if isinstance(background, Picture):
        return cover_fit(background.pixels, width, height)
    if isinstance(background, PictureFile):
        return cover_fit(_read_picture(io.BytesIO(background.data), background.name), width, height)
    if isinstance(background, Colour):
        return np.full((height, width, 3), (background.red, background.green, background.blue), np.uint8)
    return np.zeros((height, width, 3), np.uint8)


def straight_colours(premultiplied: npt.NDArray[np.float32], alpha: npt.NDArray[np.float32]) -> tuple[Pixels, Pixels]:
    """Premultiplied (H, W, 3) and alpha (H, W) in [0, 1] to the straight uint8 RGB and alpha of PNG and WebM."""
    colour = premultiplied / np.maximum(alpha, 1 / 255)[..., None]
    return to_bytes(colour), to_bytes(alpha)


def laid_over(premultiplied: npt.NDArray[np.float32], alpha: npt.NDArray[np.float32], behind: Pixels) -> Pixels:
    """Premultiplied (H, W, 3) and alpha (H, W) in [0, 1] over a backdrop (H, W, 3), as uint8."""
    return to_bytes(premultiplied + (1 - alpha[..., None]) * (behind.astype(np.float32) / 255))


def to_bytes(values: npt.NDArray[np.float32]) -> Pixels:
    """[0, 1] to 0..255, rounded; what lies outside is cut."""
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def _read_picture(source: Path | BinaryIO, name: str) -> Pixels:
    from PIL import Image, ImageOps

    try:
        with Image.open(source) as picture:
            if max(picture.size) > MAX_PICTURE_SIDE:
                raise InputError(f"{name}: is {picture.width}x{picture.height}, at most {MAX_PICTURE_SIDE} a side")
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"), np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: is not a picture that can be read ({error})", "Use a PNG or JPEG file") from None
