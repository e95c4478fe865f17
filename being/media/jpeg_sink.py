"""JPEG pictures one by one, each with its frame index."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from being.media.jpeg import QUALITY, encode_jpeg
from being.media.media_sink import Frame, picture_of


class JpegSink:
    """Hands each picture to `put`; every one is a starting point, and repeats cost nothing."""

    def __init__(self, put: Callable[[int, bytes], None], quality: int = QUALITY) -> None:
        self._put = put
        self._quality = quality

    def picture(self, index: int, frame: Frame) -> None:
        self._put(index, encode_jpeg(picture_of(frame), self._quality))

    def repeat(self, index: int) -> None:
        """The client goes on showing what it has."""

    def sound(self, pcm: npt.NDArray[np.float32]) -> None:
        """Pictures only: sound goes beside them."""

    def close(self) -> None:
        """Nothing is held back."""
