"""WebM for streaming: VP9, with transparency where it is wanted, and Opus, emitted while frames go in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import numpy as np

from being.media.contract import StreamFormat, VideoWriter
from being.media.encoders import (
    KEY_FRAME_SECONDS,
    FrameMaker,
    SoundFramer,
    configure_sound,
    configure_video,
    require_av,
    vp9_options,
)

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream

QUALITY = 30  # VP9's constant quality, 0 best to 63
SOUND_BIT_RATE = 64_000  # a channel


class WebmStreamWriter(VideoWriter):
    """As `WebmWriter`, but into a callable that takes the bytes in order: no length and no index, as live WebM has it.

    The muxer gathers a cluster before it writes it, so pieces are some hundred milliseconds of film each.
    """

    def __init__(
        self, emit: Callable[[bytes], object], format: StreamFormat, *, alpha: bool = False, quality: int = QUALITY
    ) -> None:
        require_av()
        import av

        format.require_even()
        self.format = format
        self._closed = False
        pixels = "yuva420p" if alpha else "yuv420p"
        options = {"live": "1", "cluster_time_limit": "400"}  # milliseconds
        self._container = av.open(cast("str", _Emitter(emit)), "w", format="webm", container_options=options)
        video = cast(
            "VideoStream",
            self._container.add_stream("libvpx-vp9", format.fps, vp9_options(alpha=alpha, quality=quality)),
        )
        configure_video(video.codec_context, format, pixels)
        video.codec_context.gop_size = KEY_FRAME_SECONDS * format.fps
        if alpha:
            video.metadata["alpha_mode"] = "1"
        self._video = video
        self._make_frame = FrameMaker(format, pixels)
        self._sound: AudioStream | None = None
        if format.sound_channels:
            sound = cast("AudioStream", self._container.add_stream("libopus", format.sound_rate))
            configure_sound(sound.codec_context, format, "flt", SOUND_BIT_RATE * format.sound_channels)
            sound.codec_context.open()
            self._sound = sound
            self._framer = SoundFramer(format, sound.codec_context.frame_size, "flt")

    def write_frame(self, picture: np.ndarray, pts: int) -> None:
        self._container.mux(self._video.encode(self._make_frame(picture, pts)))

    def write_sound(self, pcm: np.ndarray) -> None:
        if self._sound is not None:
            for frame in self._framer.push(pcm):
                self._container.mux(self._sound.encode(frame))

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._sound is not None:
            for frame in self._framer.flush():
                self._container.mux(self._sound.encode(frame))
            self._container.mux(self._sound.encode(None))
        self._container.mux(self._video.encode(None))
        self._container.close()

    def abort(self) -> None:
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError, ValueError):  # what was emitted is with the client already
            self._container.close()


class _Emitter:
    """What PyAV takes for a file that can only be written forward."""

    def __init__(self, emit: Callable[[bytes], object]) -> None:
        self._emit = emit

    def write(self, data: bytes) -> int:
        self._emit(bytes(data))
        return len(data)
