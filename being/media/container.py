"""A container with one picture track and one sound track, encoded and muxed by PyAV; formats differ in settings.

Encoder and muxer stay together here: what FFmpeg hands from one to the other (the transparency of VP9, the delay that a
codec declares) has no place in a Packet, and files are made by one client for one reader.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from being.atomic import Draft, writing_to
from being.media.audio_frame import SoundFramer
from being.media.codecs import KEY_FRAME_SECONDS, configure_sound, configure_video, require_av
from being.media.contract import StreamFormat, VideoWriter
from being.media.video_frame import FrameMaker

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream


@dataclass(frozen=True)
class ContainerSettings:
    """What a container format needs of PyAV. alpha : its pictures are transparent, declared as WebM has it."""

    muxer: str
    muxer_options: dict[str, str]
    video_codec: str
    video_options: dict[str, str]
    pixels: str
    sound_codec: str
    sound_format: str  # sample format of the sound encoder
    sound_bit_rate: int
    alpha: bool = False


class Emitter:
    """What PyAV takes for a file that can only be written forward."""

    def __init__(self, emit: Callable[[bytes], object]) -> None:
        self._emit = emit

    def write(self, data: bytes) -> int:
        self._emit(bytes(data))
        return len(data)


class AvContainer:
    """Frames and sound into a container that PyAV writes to a file or an Emitter."""

    def __init__(self, target: str | Emitter, format: StreamFormat, settings: ContainerSettings) -> None:
        require_av()
        import av

        format.require_even()
        self._container = av.open(
            cast("str", target), "w", format=settings.muxer, container_options=settings.muxer_options
        )
        try:
            options = dict(settings.video_options)
            video = cast("VideoStream", self._container.add_stream(settings.video_codec, format.fps, options))
            configure_video(video.codec_context, format, settings.pixels)
            video.codec_context.gop_size = KEY_FRAME_SECONDS * format.fps
            if settings.alpha:
                video.metadata["alpha_mode"] = "1"
            self._video = video
            self._make_frame = FrameMaker(format, settings.pixels)
            self._sound: AudioStream | None = None
            if format.sound_channels:
                sound = cast("AudioStream", self._container.add_stream(settings.sound_codec, format.sound_rate))
                configure_sound(sound.codec_context, format, settings.sound_format, settings.sound_bit_rate)
                sound.codec_context.open()
                self._sound = sound
                self._framer = SoundFramer(format, sound.codec_context.frame_size, settings.sound_format)
        except BaseException:
            self.discard()
            raise

    def write_frame(self, picture: np.ndarray, pts: int) -> None:
        self._container.mux(self._video.encode(self._make_frame(picture, pts)))

    def write_sound(self, pcm: np.ndarray) -> None:
        if self._sound is not None:
            for frame in self._framer.push(pcm):
                self._container.mux(self._sound.encode(frame))

    def finish(self) -> None:
        """Flush the encoders and write the trailer."""
        if self._sound is not None:
            for frame in self._framer.flush():
                self._container.mux(self._sound.encode(frame))
            self._container.mux(self._sound.encode(None))
        self._container.mux(self._video.encode(None))
        self._container.close()

    def discard(self) -> None:
        """Close what nobody will read."""
        with contextlib.suppress(OSError, ValueError):  # an unfinished trailer does not matter
            self._container.close()


class ContainerWriter(VideoWriter):
    """Writes a draft beside `path` and puts it in place on close."""

    def __init__(
        self, path: Path, format: StreamFormat, settings: ContainerSettings, *, overwrite: bool = False
    ) -> None:
        require_av()
        format.require_even()
        self.format = format
        self._draft = Draft(path, overwrite=overwrite)
        self._closed = False
        try:
            self._container = AvContainer(str(self._draft.path), format, settings)
        except BaseException:
            self._draft.discard()
            raise

    def write_frame(self, picture: np.ndarray, pts: int) -> None:
        with writing_to(self._draft.target):
            self._container.write_frame(picture, pts)

    def write_sound(self, pcm: np.ndarray) -> None:
        with writing_to(self._draft.target):
            self._container.write_sound(pcm)

    def close(self) -> None:
        if self._closed:
            return
        with writing_to(self._draft.target):
            self._container.finish()
        self._draft.publish()
        self._closed = True

    def abort(self) -> None:
        if not self._closed:
            self._closed = True
            self._container.discard()
            self._draft.discard()
