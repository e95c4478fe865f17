"""What goes into the engine and what comes out. Plain data over numpy: who only carries frames needs no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, Flag, auto

import numpy as np
import numpy.typing as npt

from being.inference.compositing import Background, Plate

FaceBox = tuple[float, float, float, float]  # x0, y0, x1, y1 in pixels


class PixelFormat(Enum):
    """How the numbers of a picture are to be read.

    RGB : (H, W, 3) uint8 over the background; straight (not premultiplied) colours where that is nothing.
    YUV420 : (3 H / 2, W) uint8 planes Y, U, V of 4:2:0, BT.709, limited range.
    COMPOSITED : (H, W, 3) float32 in [0, 1], else as RGB; on a device only.
    PREMULTIPLIED : (H, W, 3) float32 in [0, 1] times coverage, with nothing behind; on a device only.
    """

    RGB = "rgb"
    YUV420 = "yuv420"
    COMPOSITED = "composited"
    PREMULTIPLIED = "premultiplied"


class Extras(Flag):
    """What is wanted beside a frame's picture; what nobody asks for is not computed or not copied to the host.

    ALPHA : coverage. DEPTH : mean distance. FACE_BOX : where the face is.
    """

    NONE = 0
    ALPHA = auto()
    DEPTH = auto()
    FACE_BOX = auto()


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
    session, generation, index : handed through to the record.
    pixel_format : RGB, or YUV420 (even sizes only).
    extras : what the record holds beside the picture.
    refine : strength of the refiner in [0, 1]; 0 leaves the frame as it was rendered.
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
    session: str = ""
    generation: int = 0
    index: int = 0
    pixel_format: PixelFormat = PixelFormat.RGB
    extras: Extras = Extras.ALPHA
    refine: float = 0.0

    def with_extras(self, extras: Extras) -> Drive:
        """The same frame with these in place of its own; `dataclasses.replace` takes ten times as long."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, extras=extras)
        return other


@dataclass
class FrameRecord:
    """One rendered frame in host memory.

    Attributes
    ----------
    index, generation : of the drive.
    image : the picture in `pixel_format`; None where `error` is set.
    alpha : (H, W) uint8 coverage by the avatar; this and the next two None unless asked for.
    depth : (H, W) float32 mean distance from the camera in decimetres, 0 where nothing is.
    face_box : around what the sound moves; None also where that is out of sight.
    head_pose : (3, 4) of the drive.
    error : one line where this frame could not be drawn; the other frames of the batch are unaffected.
    avatar, session : of the drive.
    pixel_format : RGB or YUV420.
    """

    index: int
    generation: int
    image: npt.NDArray[np.uint8] | None
    alpha: npt.NDArray[np.uint8] | None
    depth: npt.NDArray[np.float32] | None
    face_box: FaceBox | None
    head_pose: npt.NDArray[np.float32]
    error: str | None = None
    avatar: str = ""
    session: str = ""
    pixel_format: PixelFormat = PixelFormat.RGB
