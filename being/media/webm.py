"""WebM: VP9, with transparency where it is wanted, and Opus."""

from __future__ import annotations

from pathlib import Path

from being.media.codecs import vp9_options
from being.media.container import ContainerSettings, ContainerWriter
from being.media.contract import StreamFormat

QUALITY = 24  # VP9's constant quality, 0 best to 63
SOUND_BIT_RATE = 64_000  # a channel


class WebmWriter(ContainerWriter):
    """A WebM file; with `alpha` the frames are RGBA and the transparency travels as VP9's second picture.

    Opus has a start-up delay of its own, which WebM declares (CodecDelay) and players take off.
    """

    def __init__(
        self,
        path: Path,
        format: StreamFormat,
        *,
        alpha: bool = False,
        quality: int = QUALITY,
        overwrite: bool = False,
    ) -> None:
        super().__init__(path, format, webm_settings(format, alpha=alpha, quality=quality), overwrite=overwrite)


def webm_settings(
    format: StreamFormat, *, alpha: bool, quality: int, muxer_options: dict[str, str] | None = None
) -> ContainerSettings:
    """The settings of WebM files and WebM streams."""
    return ContainerSettings(
        muxer="webm",
        muxer_options=muxer_options or {},
        video_codec="libvpx-vp9",
        video_options=vp9_options(alpha=alpha, quality=quality),
        pixels="yuva420p" if alpha else "yuv420p",
        sound_codec="libopus",
        sound_format="flt",
        sound_bit_rate=SOUND_BIT_RATE * max(1, format.sound_channels),
        alpha=alpha,
    )
