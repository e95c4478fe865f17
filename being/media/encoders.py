"""The encoders' settings, and the two conversions before them: picture to frame, sound to fixed blocks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from being.errors import MissingDependencyError
from being.media.contract import StreamFormat

if TYPE_CHECKING:
    import av
    from av.audio.codeccontext import AudioCodecContext
    from av.video.codeccontext import VideoCodecContext

BT709 = 1  # the number of BT.709 in H.273, for colour space, primaries and transfer alike
LIMITED_RANGE = 1  # luma 16..235, what players assume
KEY_FRAME_SECONDS = 2  # how far apart a file's key frames are: where a player can seek to


def require_av() -> None:
    """PyAV is what all moving pictures go through; say how to get it where it is missing."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("av", None, "Writing video") from error


def encoder_threads() -> int:
    """Threads for one encoder: two at most, for the cores are busy drawing."""
    return min(2, os.cpu_count() or 1)


def codec_exists(name: str) -> bool:
    """Whether PyAV's FFmpeg holds the encoder `name`."""
    import av

    try:
        av.Codec(name, "w")
    except ValueError:  # UnknownCodecError
        return False
    return True


def configure_video(context: VideoCodecContext, format: StreamFormat, pixels: str) -> None:
    """Size, clock and colour tags, the same for every video encoder."""
    context.width = format.width
    context.height = format.height
    context.pix_fmt = pixels
    context.framerate = Fraction(format.fps)
    context.time_base = Fraction(1, format.fps)
    context.color_range = LIMITED_RANGE
    context.colorspace = BT709
    context.color_primaries = BT709
    context.color_trc = BT709
    context.thread_count = encoder_threads()


def h264_options(*, live: bool, quality: int) -> dict[str, str]:
    """Options of libx264.

    Without B-frames decoding order is showing order: the first picture has time zero whether or not a player honours
    edit lists. `live` gives every frame out as it is put in (no look-ahead, threads on slices instead of frames) and
    makes key frames, which are large, only when they are due or asked for.
    """
    options = {"preset": "veryfast", "crf": str(quality), "bf": "0", "profile": "high"}
    if live:
        options |= {"preset": "superfast", "tune": "zerolatency", "forced-idr": "1", "sc_threshold": "0"}
    return options


def vp9_options(*, alpha: bool, quality: int) -> dict[str, str]:
    """Options of libvpx-vp9, fast enough for two cores; alternate references do not work with alpha."""
    options = {"deadline": "realtime", "cpu-used": "7", "row-mt": "1", "crf": str(quality), "b": "0"}
    if alpha:
        options["auto-alt-ref"] = "0"
    return options


def configure_sound(context: AudioCodecContext, format: StreamFormat, sample_format: str, bit_rate: int) -> None:
    """Rate, channels, sample format and bit rate, the same for AAC and Opus."""
    context.format = sample_format
    context.rate = format.sound_rate
    context.layout = "mono" if format.sound_channels == 1 else "stereo"
    context.time_base = Fraction(1, format.sound_rate)
    context.bit_rate = bit_rate


class FrameMaker:
    """Pictures to frames of the encoder's pixel format, BT.709."""

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


class SoundFramer:
    """Sound of any chunking to frames of the encoder's block size, with their times."""

    def __init__(self, format: StreamFormat, block: int, sample_format: str) -> None:
        self._format = format
        self._block = block
        self._sample_format = sample_format
        self._waiting: list[np.ndarray] = []
        self._held = 0
        self._position = 0

    @property
    def position(self) -> int:
        """Samples handed out so far."""
        return self._position

    def push(self, pcm: np.ndarray) -> Iterator[Any]:
        """Add sound; yields the frames that are complete."""
        block = self._format.sound_block(pcm)
        self._waiting.append(np.clip(block, -1.0, 1.0))
        self._held += len(block)
        if self._held >= self._block:
            samples = np.concatenate(self._waiting)
            whole = len(samples) // self._block * self._block
            self._waiting = [samples[whole:]]
            self._held = len(samples) - whole
            for start in range(0, whole, self._block):
                yield self._frame(samples[start : start + self._block])

    def flush(self) -> Iterator[Any]:
        """The incomplete last frame, if there is one; encoders take one short frame at the end."""
        if self._held:
            samples = np.concatenate(self._waiting)
            self._waiting, self._held = [], 0
            yield self._frame(samples)

    def _frame(self, samples: np.ndarray) -> av.AudioFrame:
        import av

        planar = self._sample_format.endswith("p")
        data = samples.T if planar else samples.reshape(1, -1)
        layout = "mono" if self._format.sound_channels == 1 else "stereo"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data), self._sample_format, layout)
        frame.sample_rate = self._format.sound_rate
        frame.time_base = Fraction(1, self._format.sound_rate)
        frame.pts = self._position
        self._position += samples.shape[0]
        return frame
