"""The plate: what a still camera saw, else what a moving one saw laid together, else one that is made or given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from being.capture.background.found import FILMED, LAID_TOGETHER, BackgroundMotion
from being.errors import InputError
from being.inference.compositing import Colour, Plate, Transparent, backdrop, parse_background

if TYPE_CHECKING:
    from being.capture.background.plate import Pictures

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


def plate_of(
    frames: Pictures,
    labels: Pictures,
    motion: BackgroundMotion,
    asked: str | None = None,
    workers: int = 1,
    progress: Callable[[float], None] | None = None,
) -> tuple[Picture, NDArray[np.bool_], str]:
    """The plate RGB (H, W, 3), where it was really seen (H, W), and what it shows, in words.

    Parameters
    ----------
    frames : RGB (H, W, 3) each. labels : (H, W) each. motion : of the background. asked : as `check_background` lets
    through.
    """
    from being.capture.background.plate import background_plate

    if asked is None and motion.still:
        return *background_plate(frames, labels), FILMED
    if asked is None:
        from being.capture.background.stabilise import lay_together

        laid = lay_together(frames, labels, workers, progress)
        if laid is not None:
            return laid.plate, laid.seen, LAID_TOGETHER
    plate, shows = made_plate(asked, frames, labels)
    return plate, np.zeros(plate.shape[:2], bool), shows


def made_plate(asked: str | None, frames: Pictures, labels: Pictures) -> tuple[Picture, str]:
    """The plate that was asked for, else what was seen behind the person, blurred; and what it shows, in words."""
    if asked is None or asked == BLURRED:
        import cv2

        from being.capture.background.plate import background_plate

        plate, _ = background_plate(frames, labels)
        blurred = cv2.GaussianBlur(plate, (0, 0), BLUR * min(plate.shape[:2])).astype(np.uint8)
        return blurred, "made: a blur of what was seen"
    height, width = frames[0].shape[:2]
    wanted = parse_background(asked)
    shows = f"given: {asked if isinstance(wanted, Colour) else Path(asked).name}"
    return backdrop(wanted, np.zeros((1, 1, 3), np.uint8), width, height), shows
