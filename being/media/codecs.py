"""The settings of the codecs: size, clock, colours, rates, and the options of each."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import TYPE_CHECKING

from being.errors import MissingDependencyError
from being.media.contract import StreamFormat

if TYPE_CHECKING:
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


def h264_file_options(quality: int) -> dict[str, str]:
    """Options of libx264 for files.

    Without B-frames decoding order is showing order: the first picture has time zero whether or not a player honours
    edit lists.
    """
    return {"preset": "veryfast", "crf": str(quality), "bf": "0", "profile": "high"}


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
