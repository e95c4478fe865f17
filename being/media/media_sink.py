"""Where frames go: told of pictures, repeats and sound. And the one way from a drawn frame to its pixels."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from being.errors import BeingError


class Frame(Protocol):
    """A drawn frame as far as a sink looks at it; see `being.inference.frames.FrameRecord`."""

    @property
    def index(self) -> int: ...

    @property
    def image(self) -> npt.NDArray[np.uint8] | None: ...

    @property
    def alpha(self) -> npt.NDArray[np.uint8] | None: ...

    @property
    def error(self) -> str | None: ...


class MediaSink(Protocol):
    """Frames in order, each index once; sound in order. Encoding takes milliseconds: call it off the event loop."""

    def picture(self, index: int, frame: Frame) -> None:
        """Show a drawn frame from frame `index` on."""
        ...

    def repeat(self, index: int) -> None:
        """Frame `index` shows what was shown before."""
        ...

    def sound(self, pcm: npt.NDArray[np.float32]) -> None:
        """Append (S, channels) at 48 kHz."""
        ...

    def close(self) -> None: ...


def picture_of(frame: Frame, *, alpha: bool = False) -> npt.NDArray[np.uint8]:
    """The frame's picture as the video writers take it, with its alpha as fourth channel if asked for.

    Raises
    ------
    BeingError
        The frame carries an error instead of a picture.
    """
    if frame.image is None:
        raise BeingError(frame.error or f"frame {frame.index} has no picture")
    if alpha and frame.alpha is not None:
        return np.dstack([frame.image, frame.alpha])
    return frame.image


def size_of(picture: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height of a picture in any of the writers' forms."""
    height, width = picture.shape[:2]
    return (width, height) if picture.ndim == 3 else (width, height * 2 // 3)
