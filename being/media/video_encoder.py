"""H.264 for streams: every picture comes out as it goes in, key frames when asked for, quality or bit rate as set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from being.media.codecs import configure_video, require_av
from being.media.contract import StreamFormat
from being.media.packet import Packet
from being.media.video_frame import FrameMaker, PlaneFiller

if TYPE_CHECKING:
    import av
    from av.video.codeccontext import VideoCodecContext

Profile = Literal["baseline", "main", "high"]

BUFFER_S = 0.5  # of the bit rate that a burst may take ahead of it (x264's VBV buffer)
# Level, macroblocks a picture, macroblocks a second (H.264 table A-1).
LEVELS = (("3.1", 3_600, 108_000), ("4.0", 8_192, 245_760), ("5.1", 36_864, 983_040))


@dataclass(frozen=True)
class VideoSettings:
    """How pictures are coded.

    quality : x264's constant rate factor, 0 lossless to 51; what a picture takes when nothing bounds it.
    bit_rate : bits a second that are not exceeded over half a second; the quality gives way. None: unbounded.
    profile : baseline is a tenth cheaper than high, takes up to a tenth more bits, and is what WebRTC negotiates.
    threads : 1 for live pictures, where sessions share the cores.
    key_frame_s : seconds after which a key frame comes unasked. It holds the still background once more, ten times
        the bytes of another picture at once, and is where a player can seek to.
    """

    quality: int = 24
    bit_rate: int | None = None
    profile: Profile = "baseline"
    threads: int = 1
    key_frame_s: int = 5

    def __post_init__(self) -> None:
        if self.bit_rate is not None and self.bit_rate <= 0:
            raise ValueError(f"a bit rate of {self.bit_rate} leaves no room for pictures")

    def options(self, level: str) -> dict[str, str]:
        """Of libx264: no look-ahead, no frame threads, and key frames (large) only when due or asked for.

        No adaptive quantization: it moves bits from the face to a smooth background, and takes a fifth of the time.
        """
        options = {"preset": "superfast", "tune": "zerolatency", "bf": "0", "forced-idr": "1", "sc_threshold": "0"}
        options |= {"aq-mode": "0", "deblock": "1:1"}
        options |= {"crf": str(self.quality), "profile": self.profile, "level": level}
        if self.bit_rate is not None:
            options |= {"maxrate": str(self.bit_rate), "bufsize": str(round(self.bit_rate * BUFFER_S))}
        return options


class H264Encoder:
    """Pictures to packets of an H.264 byte stream, one for one.

    Attributes
    ----------
    parameter_sets : SPS and PPS as a byte stream. Packets leave them out; see `being.media.h264.with_parameter_sets`.
    """

    def __init__(self, format: StreamFormat, settings: VideoSettings | None = None) -> None:
        require_av()
        format.require_even()
        self.settings = settings or VideoSettings()
        self._format = format
        # With one thread and no look-ahead x264 has copied a picture when `encode` returns.
        single = self.settings.threads == 1
        self._make_frame: Callable[[np.ndarray, int], av.VideoFrame]
        self._make_frame = PlaneFiller(format) if single else FrameMaker(format, "yuv420p")
        self._context = self._opened()
        self.parameter_sets = bytes(self._context.extradata or b"")
        self._key_frame_wanted = True
        self._frames_since_key = 0

    def request_key_frame(self) -> None:
        """Make the next picture one that decoding can start at: for a client that joins, lost some or skipped."""
        self._key_frame_wanted = True

    def encode(self, picture: np.ndarray, pts: int) -> list[Packet]:
        """`picture` in any of the contract's forms, shown from frame `pts` on."""
        from av.video.frame import PictureType

        frame = self._make_frame(picture, pts)
        due = self._frames_since_key >= self.settings.key_frame_s * self._format.fps
        if self._key_frame_wanted or due:
            frame.pict_type = PictureType.I
            self._key_frame_wanted = False
            self._frames_since_key = 0
        self._frames_since_key += 1
        return self._packets(frame)

    def flush(self) -> list[Packet]:
        """What is still inside; nothing can be encoded after it."""
        return self._packets(None)

    def _packets(self, frame: av.VideoFrame | None) -> list[Packet]:
        return [
            Packet("video", bytes(packet), int(packet.pts or 0), int(packet.dts or 0), 1, bool(packet.is_keyframe))
            for packet in self._context.encode(frame)
        ]

    def _opened(self) -> VideoCodecContext:
        import av
        from av.codec.context import Flags

        context = av.CodecContext.create("libx264", "w")
        configure_video(context, self._format, "yuv420p")
        context.thread_count = self.settings.threads
        context.gop_size = self.settings.key_frame_s * self._format.fps + 1  # `encode` asks for them before
        context.options = self.settings.options(_level(self._format))
        context.flags |= Flags.global_header
        context.open()
        return context


def _level(format: StreamFormat) -> str:
    blocks = -(-format.width // 16) * -(-format.height // 16)
    for level, most, most_per_s in LEVELS:
        if blocks <= most and blocks * format.fps <= most_per_s:
            return level
    return LEVELS[-1][0]
