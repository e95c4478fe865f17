"""Pictures to frames of a video encoder: any form by conversion, 4:2:0 planes by copying alone."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from being.media.codecs import BT709, LIMITED_RANGE
from being.media.contract import StreamFormat

if TYPE_CHECKING:
    import av
    from av.video.plane import VideoPlane


class FrameMaker:
    """Pictures to new frames of the encoder's pixel format, BT.709."""

    def __init__(self, format: StreamFormat, pixels: str) -> None:
        from av.video.reformatter import VideoReformatter

        self._format = format
        self._pixels = pixels
        self._convert = VideoReformatter()

    def __call__(self, picture: np.ndarray, pts: int) -> av.VideoFrame:
        """`picture` in any of the contract's forms; alpha is dropped where the pixel format has none."""
        import av

        kind = self._format.kind_of(picture)
        picture = np.ascontiguousarray(picture)
        frame = av.VideoFrame.from_ndarray(picture, {"rgb": "rgb24", "rgba": "rgba", "yuv420": "yuv420p"}[kind])
        if frame.format.name != self._pixels:
            frame = self._convert.reformat(frame, format=self._pixels, dst_colorspace=BT709)
        frame.colorspace = BT709
        frame.color_range = LIMITED_RANGE
        frame.pts = pts
        frame.time_base = Fraction(1, self._format.fps)
        return frame


class PlaneFiller:
    """4:2:0 planes into one frame that is used again: for encoders that have read it when `encode` returns.

    Other pictures are converted by a FrameMaker.
    """

    def __init__(self, format: StreamFormat) -> None:
        import av

        self._format = format
        self._make_frame = FrameMaker(format, "yuv420p")
        frame = av.VideoFrame(format.width, format.height, "yuv420p")
        frame.colorspace = BT709
        frame.color_range = LIMITED_RANGE
        frame.time_base = Fraction(1, format.fps)
        self._frame = frame
        self._planes = [_pixels_of(plane) for plane in frame.planes]

    def __call__(self, picture: np.ndarray, pts: int) -> av.VideoFrame:
        from av.video.frame import PictureType

        format = self._format
        if format.kind_of(picture) != "yuv420":
            return self._make_frame(picture, pts)
        quarter = format.width * format.height // 4
        luma, chroma = picture[: format.height], picture[format.height :].reshape(-1)
        half = (format.height // 2, format.width // 2)
        y, u, v = self._planes
        y[:] = luma
        u[:] = chroma[:quarter].reshape(half)
        v[:] = chroma[quarter:].reshape(half)
        self._frame.pts = pts
        self._frame.pict_type = PictureType.NONE
        return self._frame


def _pixels_of(plane: VideoPlane) -> npt.NDArray[np.uint8]:
    """The pixels of a plane without the padding behind its rows, as a view."""
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)  # type: ignore[call-overload]
    view: npt.NDArray[np.uint8] = rows[:, : plane.width]
    return view
