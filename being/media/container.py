"""A file with one picture track and one sound track, encoded and muxed by PyAV; MP4 and WebM differ in settings."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from being.atomic import Draft, writing_to
from being.media.contract import StreamFormat, VideoWriter
from being.media.encoders import (
    KEY_FRAME_SECONDS,
    FrameMaker,
    SoundFramer,
    configure_sound,
    configure_video,
    require_av,
)

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream


@dataclass(frozen=True)
class ContainerSettings:
    """What a container format needs of PyAV."""

    muxer: str
    muxer_options: dict[str, str]
    video_codec: str
    video_options: dict[str, str]
    pixels: str
    sound_codec: str
    sound_format: str  # sample format of the sound encoder
    sound_bit_rate: int


class ContainerWriter(VideoWriter):
    """Writes a draft beside `path` and puts it in place on close."""

    def __init__(
        self,
        path: Path,
        format: StreamFormat,
        settings: ContainerSettings,
        *,
        overwrite: bool = False,
        on_video_stream: Callable[[VideoStream], None] | None = None,
    ) -> None:
        require_av()
        import av

        format.require_even()
        self.format = format
        self._draft = Draft(path, overwrite=overwrite)
        self._closed = False
        try:
            self._container = av.open(
                str(self._draft.path), "w", format=settings.muxer, container_options=settings.muxer_options
            )
            options = dict(settings.video_options)
            video = cast("VideoStream", self._container.add_stream(settings.video_codec, format.fps, options))
            configure_video(video.codec_context, format, settings.pixels)
            video.codec_context.gop_size = KEY_FRAME_SECONDS * format.fps
            if on_video_stream is not None:
                on_video_stream(video)
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
            self.abort()
            raise

    def write_frame(self, picture: np.ndarray, pts: int) -> None:
        frame = self._make_frame(picture, pts)
        with writing_to(self._draft.target):
            self._container.mux(self._video.encode(frame))

    def write_sound(self, pcm: np.ndarray) -> None:
        if self._sound is None:
            return
        with writing_to(self._draft.target):
            for frame in self._framer.push(pcm):
                self._container.mux(self._sound.encode(frame))

    def close(self) -> None:
        if self._closed:
            return
        with writing_to(self._draft.target):
            if self._sound is not None:
                for frame in self._framer.flush():
                    self._container.mux(self._sound.encode(frame))
                self._container.mux(self._sound.encode(None))
            self._container.mux(self._video.encode(None))
            self._container.close()
        self._draft.publish()
        self._closed = True

    def abort(self) -> None:
        if self._closed:
            return
        self._closed = True
        container = getattr(self, "_container", None)
        if container is not None:
            with contextlib.suppress(OSError, ValueError):  # thrown away: an unfinished trailer does not matter
                container.close()
        self._draft.discard()
