"""Fragmented MP4 for streaming: bytes come out as frames go in, no muxer holds anything back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from being.media.codecs import KEY_FRAME_SECONDS, encoder_threads
from being.media.contract import StreamFormat, VideoWriter
from being.media.fmp4_muxer import Fmp4Muxer
from being.media.stream_encoder import StreamEncoder
from being.media.video_encoder import VideoSettings


class Fmp4Writer(VideoWriter):
    """Emits the head of the stream at once, then a fragment for every `frames_per_fragment` frames.

    Parameters
    ----------
    emit : callable
        Takes the bytes, in order.
    frames_per_fragment : int
        1 for the least delay; 25 costs the least overhead.
    video : VideoSettings, optional
        High profile without: whoever takes a whole film is glad of fewer bytes.
    """

    def __init__(
        self,
        emit: Callable[[bytes], object],
        format: StreamFormat,
        *,
        frames_per_fragment: int = 1,
        video: VideoSettings | None = None,
    ) -> None:
        self.format = format
        self._emit = emit
        self._frames_per_fragment = frames_per_fragment
        self._encoder: StreamEncoder | None
        self._encoder = encoder = StreamEncoder(
            format, video or VideoSettings(profile="high", threads=encoder_threads(), key_frame_s=KEY_FRAME_SECONDS)
        )
        self._muxer = fmp4_muxer(encoder)
        self.media_type = self._muxer.media_type
        emit(self._muxer.head)

    def request_key_frame(self) -> None:
        """Make the next frame one that decoding can start at: for a client that joins or skipped."""
        if (encoder := self._encoder) is not None:
            encoder.video.request_key_frame()

    def write_frame(self, picture: np.ndarray, pts: int) -> None:
        if (encoder := self._encoder) is not None:  # else given up meanwhile, by another thread
            encoder.write_frame(picture, pts)
            if self._muxer.pictures >= self._frames_per_fragment:
                self.flush()

    def write_sound(self, pcm: np.ndarray) -> None:
        if (encoder := self._encoder) is not None:
            encoder.write_sound(pcm)

    def flush(self) -> None:
        """Emit what has been encoded, even where the fragment is not full: sound must not wait for a late picture."""
        if (fragment := self._muxer.fragment()) is not None:
            self._emit(fragment.data)

    def close(self) -> None:
        if (encoder := self._encoder) is not None:
            encoder.flush()
            self._encoder = None
            self.flush()

    def abort(self) -> None:
        """Stop without the tail; what was emitted is with the client already. Encoders and their threads go now."""
        self._encoder = None


def fmp4_muxer(encoder: StreamEncoder) -> Fmp4Muxer:
    """A muxer that takes the encoder's packets from now on."""
    audio = encoder.audio
    config, bit_rate = (audio.config, audio.bit_rate) if audio is not None else (None, 0)
    muxer = Fmp4Muxer(encoder.format, encoder.video.parameter_sets, config, bit_rate)
    encoder.consumers.append(muxer.add)
    return muxer
