"""Fragmented MP4 to one client, skipping to a key frame when the client is slow."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from being.media.contract import StreamFormat
from being.media.fmp4 import fmp4_muxer
from being.media.media_sink import Frame, picture_of
from being.media.send_queue import SendQueue
from being.media.stream_encoder import StreamEncoder
from being.media.video_encoder import VideoSettings

LIVE_BYTES = 4 << 20  # about half a minute of a 512x512 stream; then the client is skipped to now


class Fmp4Sink:
    """A media sink whose bytes wait in `queue`.

    Attributes
    ----------
    encoder : of the stream; others may take its packets as well.
    queue : what was flushed and not sent.
    """

    def __init__(self, format: StreamFormat, limit: int = LIVE_BYTES, video: VideoSettings | None = None) -> None:
        self.encoder = StreamEncoder(format, video)
        self.queue = SendQueue(limit, self.encoder.video.request_key_frame)
        self._muxer = fmp4_muxer(self.encoder)
        self.media_type = self._muxer.media_type
        self._last: npt.NDArray[np.uint8] | None = None
        self.queue.put(self._muxer.head, starts=False, keep=True)

    def picture(self, index: int, frame: Frame) -> None:
        self._last = picture_of(frame)
        self.encoder.write_frame(self._last, index)

    def repeat(self, index: int) -> None:
        """Encoded again, which costs a few bytes: a stream with a hole makes some players stop."""
        if self._last is not None:
            self.encoder.write_frame(self._last, index)

    def sound(self, pcm: npt.NDArray[np.float32]) -> None:
        self.encoder.write_sound(pcm)

    def flush(self) -> None:
        """Queue what has come so far as one fragment: sound must not wait for a late picture."""
        if (fragment := self._muxer.fragment()) is not None:
            self.queue.put(fragment.data, starts=fragment.starts)

    def close(self) -> None:
        """The end of the stream, its tail included."""
        self.encoder.flush()
        self.flush()
