"""WebM: VP9, with transparency where it is wanted, and Opus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from being.media.container import ContainerSettings, ContainerWriter
from being.media.contract import StreamFormat
from being.media.encoders import vp9_options

if TYPE_CHECKING:
    from av.video.stream import VideoStream

QUALITY = 24  # VP9's constant quality, 0 best to 63


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
        settings = ContainerSettings(
            muxer="webm",
            muxer_options={},
            video_codec="libvpx-vp9",
            video_options=vp9_options(alpha=alpha, quality=quality),
            pixels="yuva420p" if alpha else "yuv420p",
            sound_codec="libopus",
            sound_format="flt",
            sound_bit_rate=64_000 * max(1, format.sound_channels),
        )

        def declare_alpha(stream: VideoStream) -> None:
            if alpha:
                stream.metadata["alpha_mode"] = "1"

        super().__init__(path, format, settings, overwrite=overwrite, on_video_stream=declare_alpha)
