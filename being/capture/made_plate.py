"""A plate for footage that has none, because the camera moves or somebody wants another one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from being.errors import InputError
from being.inference.compositing import Colour, Plate, Transparent, backdrop, parse_background

if TYPE_CHECKING:
    from being.capture.plate import Pictures

Picture = NDArray[np.uint8]

BLURRED = "blur"  # what was seen behind the person, out of focus
BLUR = 0.06  # deviation of that blur, share of the picture's shorter side


def check_background(text: str | None) -> str | None:
    """What a user asked to stand behind the avatar: None (as filmed), "blur", "#rrggbb" or a picture's path.

    Raises InputError where it is none of these or the picture cannot be read.
    """
    if text is not None and text != BLURRED and isinstance(parse_background(text), Plate | Transparent):
        raise InputError(f"an avatar cannot keep {text!r} as its background", "Give blur, #rrggbb, or a picture")
    return text


def made_plate(asked: str | None, frames: Pictures, labels: Pictures) -> Picture:
    """The plate RGB (H, W, 3): what was asked for, else what was seen behind the person, blurred.

    Parameters
    ----------
    asked : as `check_background` lets through. frames : RGB (H, W, 3) each. labels : (H, W) each.
    """
    if asked is None or asked == BLURRED:
        import cv2

        from being.capture.plate import background_plate

        plate, _ = background_plate(frames, labels)
        return cv2.GaussianBlur(plate, (0, 0), BLUR * min(plate.shape[:2])).astype(np.uint8)
    height, width = frames[0].shape[:2]
    return backdrop(parse_background(asked), np.zeros((1, 1, 3), np.uint8), width, height)


def told(asked: str | None) -> str:
    """What the plate is, for a report."""
    if asked is None or asked == BLURRED:
        return "made: what was seen behind the person, blurred"
    return f"given: {asked if isinstance(parse_background(asked), Colour) else Path(asked).name}"
