"""Frames into a video writer: a file, or a stream that is made as fast as it can be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from being.media.contract import VideoWriter
from being.media.media_sink import Frame, picture_of


class WriterSink:
    """A media sink over a video writer."""

    def __init__(self, writer: VideoWriter, *, alpha: bool = False) -> None:
        self._writer = writer
        self._alpha = alpha
        self._last: npt.NDArray[np.uint8] | None = None

    def picture(self, index: int, frame: Frame) -> None:
        self._last = picture_of(frame, alpha=self._alpha)
        self._writer.write_frame(self._last, index)

    def repeat(self, index: int) -> None:
        """Encoded again, which costs a few bytes: a stream with a hole makes some players stop."""
        if self._last is not None:
            self._writer.write_frame(self._last, index)

    def sound(self, pcm: npt.NDArray[np.float32]) -> None:
        self._writer.write_sound(pcm)

    def close(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        """Nobody waits for the rest: the encoders go at once."""
        self._writer.abort()
