"""WebM for streaming: VP9, with transparency where it is wanted, and Opus, emitted while frames go in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from being.media.container import AvContainer, Emitter
from being.media.contract import StreamFormat, VideoWriter
from being.media.webm import webm_settings

QUALITY = 30  # VP9's constant quality, 0 best to 63
CLUSTER_MS = 400


class WebmStreamWriter(VideoWriter):
    """As `WebmWriter`, but into a callable that takes the bytes in order: no length and no index, as live WebM has it.

    The muxer gathers a cluster before it writes it, so pieces are some hundred milliseconds of film each.
    """

    def __init__(
        self, emit: Callable[[bytes], object], format: StreamFormat, *, alpha: bool = False, quality: int = QUALITY
    ) -> None:
        self.format = format
        self._closed = False
        options = {"live": "1", "cluster_time_limit": str(CLUSTER_MS)}
        settings = webm_settings(format, alpha=alpha, quality=quality, muxer_options=options)
        self._container = AvContainer(Emitter(emit), format, settings)

    def write_frame(self, picture: np.ndarray, pts: int) -> None:
        self._container.write_frame(picture, pts)

    def write_sound(self, pcm: np.ndarray) -> None:
        self._container.write_sound(pcm)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._container.finish()

    def abort(self) -> None:
        """What was emitted is with the client already."""
        if not self._closed:
            self._closed = True
            self._container.discard()
