"""Whether a drive can be drawn: looked at before a batch, so that a bad one fails alone and says why."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

import numpy as np

from being.constants import CHOOSE_SIDES, MAX_FRAME_SIDE, MIN_FRAME_SIDE
from being.errors import InputError
from being.inference.frames import Drive, PixelFormat
from being.model.network import NetworkConfig

NOTHING = np.zeros(0, np.float32)


def all_finite(drives: Sequence[Drive]) -> bool:
    """Whether all numbers of all arrays are known to be finite, at the price of looking once."""
    flat = np.concatenate(
        [np.ravel(value) for drive in drives for value in (drive.context, drive.head_pose, drive.torso_pose)]
        + [np.ravel(drive.emotion) for drive in drives if drive.emotion is not None]
        or [NOTHING]
    )
    return flat.dtype == np.float32 and isfinite(np.dot(flat, flat))


def check_drive(drive: Drive, config: NetworkConfig, width: int, height: int, *, finite: bool = False) -> None:
    """Refuse a drive whose arrays do not fit the avatar's network, or a frame of an impossible size.

    finite : its numbers are known to be.

    Raises
    ------
    InputError
        Naming the field, what it is and what was expected.
    """
    if not (MIN_FRAME_SIDE <= width <= MAX_FRAME_SIDE and MIN_FRAME_SIDE <= height <= MAX_FRAME_SIDE):
        raise InputError(f"a frame of {width}x{height} was asked for", CHOOSE_SIDES)
    if drive.pixel_format not in (PixelFormat.RGB, PixelFormat.YUV420):
        raise InputError(f"drive pixel_format is {drive.pixel_format.value}", "Choose RGB or YUV420")
    if drive.pixel_format is PixelFormat.YUV420 and (width % 2 or height % 2):
        raise InputError(f"a {width}x{height} frame has no 4:2:0 planes", "Use an even width and height")
    shapes: dict[str, tuple[int, ...]] = {
        "context": (config.audio_frames, config.audio_window, config.audio_width),
        "head_pose": (3, 4),
        "torso_pose": (3, 4),
        "emotion": (len(config.emotion_states),),
    }
    for name, shape in shapes.items():
        value = getattr(drive, name)
        if value is None and name == "emotion":
            continue
        if np.shape(value) != shape:
            raise InputError(f"drive {name} has shape {np.shape(value)}, avatar {drive.avatar!r} needs {shape}")
        if not (finite or np.isfinite(value).all()):
            raise InputError(f"drive {name} holds NaN or infinity")
    if not 0 <= drive.eye <= 1:  # also refuses NaN
        raise InputError(f"drive eye is {drive.eye}, expected 0 (open) to 1 (shut)")
    if not 0 <= drive.refine <= 1:
        raise InputError(f"drive refine is {drive.refine}, expected 0 (as rendered) to 1")
