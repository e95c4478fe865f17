"""What goes into the engine and what comes out: a drive moves one frame, a frame record holds it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from being.constants import MAX_FRAME_SIDE
from being.errors import InputError
from being.inference.compositing import Background, Plate
from being.model.network import NetworkConfig

MIN_SIDE = 16  # pixels of a rendered frame


@dataclass(frozen=True, eq=False)
class Drive:
    """Everything that moves one frame.

    Attributes
    ----------
    avatar : id in the library.
    context : (8, 16, D) float32, the audio context of the frame.
    eye : closure of the lids, 0 open to 1 shut.
    head_pose, torso_pose : (3, 4) [R|t], canonical space to OpenCV camera, decimetres.
    emotion : (E,) weights of the avatar's emotion states, or None for neutral.
    width, height : pixels of the frame; where the shape differs from the recording's, the recording is cropped to
        cover it. None: as recorded.
    background : what stands behind the avatar.
    generation, index : handed through to the record.
    yuv : the picture as 4:2:0 planes instead of RGB (even sizes only).
    depth : the record's depth is wanted.
    """

    avatar: str
    context: npt.NDArray[np.float32]
    eye: float
    head_pose: npt.NDArray[np.float32]
    torso_pose: npt.NDArray[np.float32]
    emotion: npt.NDArray[np.float32] | None = None
    width: int | None = None
    height: int | None = None
    background: Background = Plate()  # noqa: RUF009 - immutable
    generation: int = 0
    index: int = 0
    yuv: bool = False
    depth: bool = False


@dataclass
class FrameRecord:
    """One rendered frame.

    Attributes
    ----------
    index, generation : of the drive.
    image : (H, W, 3) uint8 RGB over the background (straight colours where that is nothing), or (3 H / 2, W) uint8
        planes Y, U, V of BT.709 limited range; None where `error` is set.
    alpha : (H, W) uint8 coverage by the avatar.
    depth : (H, W) float32 mean distance from the camera in decimetres, 0 where nothing is; None unless asked for.
    face_box : x0, y0, x1, y1 in pixels of the frame, around what the sound moves.
    head_pose : (3, 4) of the drive.
    error : one line where this row could not be drawn; the other rows of the batch are unaffected.
    """

    index: int
    generation: int
    image: npt.NDArray[np.uint8] | None
    alpha: npt.NDArray[np.uint8] | None
    depth: npt.NDArray[np.float32] | None
    face_box: tuple[float, float, float, float] | None
    head_pose: npt.NDArray[np.float32]
    error: str | None = None


def failed(drive: Drive, error: str) -> FrameRecord:
    """The record of a drive that could not be drawn."""
    return FrameRecord(drive.index, drive.generation, None, None, None, None, drive.head_pose, error)


def check_drive(drive: Drive, config: NetworkConfig, width: int, height: int) -> None:
    """Refuse a drive whose arrays do not fit the avatar's network, or a frame of an impossible size.

    Raises
    ------
    InputError
        Naming the field, what it is and what was expected.
    """
    if not (MIN_SIDE <= width <= MAX_FRAME_SIDE and MIN_SIDE <= height <= MAX_FRAME_SIDE):
        raise InputError(
            f"a frame of {width}x{height} was asked for", f"Choose sides from {MIN_SIDE} to {MAX_FRAME_SIDE}"
        )
    if drive.yuv and (width % 2 or height % 2):
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
        if not np.isfinite(value).all():
            raise InputError(f"drive {name} holds NaN or infinity")
    if not 0 <= drive.eye <= 1:  # also refuses NaN
        raise InputError(f"drive eye is {drive.eye}, expected 0 (open) to 1 (shut)")
