"""The encoders of one stream: each picture and each sound is encoded once, whoever takes the packets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from being.media.audio_encoder import AudioEncoder, AudioSettings
from being.media.contract import StreamFormat
from being.media.packet import Packet
from being.media.video_encoder import H264Encoder, VideoSettings

PacketConsumer = Callable[[Packet], object]


class StreamEncoder:
    """Video and audio encoder of a stream, and who takes their packets: a muxer, a network track, several at once.

    A consumer that joins later starts at the next key frame: ask for one.
    """

    def __init__(
        self, format: StreamFormat, video: VideoSettings | None = None, audio: AudioSettings | None = None
    ) -> None:
        self.format = format
        self.video = H264Encoder(format, video)
        self.audio = AudioEncoder(format, audio) if format.sound_channels else None
        self.consumers: list[PacketConsumer] = []

    def write_frame(self, picture: np.ndarray, pts: int) -> None:
        """A picture in any of the contract's forms, shown from frame `pts` on."""
        self._hand_out(self.video.encode(picture, pts))

    def write_sound(self, pcm: np.ndarray) -> None:
        """(S,) or (S, channels) float32; continuous, the first sample at time zero."""
        if self.audio is not None:
            self._hand_out(self.audio.encode(pcm))

    def flush(self) -> None:
        """The end of the stream."""
        self._hand_out(self.video.flush())
        if self.audio is not None:
            self._hand_out(self.audio.flush())

    def _hand_out(self, packets: list[Packet]) -> None:
        for packet in packets:
            for consumer in self.consumers:
                consumer(packet)
