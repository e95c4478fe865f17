"""PNG frames: a folder of pictures with transparency beside the sound."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from being.atomic import Draft, writing_to
from being.errors import InputError
from being.media.contract import StreamFormat, VideoWriter

FAST = 1  # zlib level: PNG is lossless at every level, and the frames are usually on their way to an editor
SOUND = "sound.wav"


class PngWriter(VideoWriter):
    """A folder of `frame_000000.png`, ... and `sound.wav` (16 bit); the folder appears when all of it is there."""

    def __init__(self, path: Path, format: StreamFormat, *, overwrite: bool = False) -> None:
        self.format = format
        if path.is_dir():
            strange = [p.name for p in sorted(path.iterdir()) if p.name != SOUND and not p.match("frame_*.png")]
            if strange:
                raise InputError(f"{path} holds {strange[0]}, which is no frame", "Choose a new or an empty folder")
            overwrite = overwrite or not any(path.iterdir())
        self._draft = Draft(path, overwrite=overwrite, folder=True)
        self._closed = False
        self._sound: wave.Wave_write | None = None
        if format.sound_channels:
            with writing_to(path):
                self._sound = wave.open(str(self._draft.path / SOUND), "wb")  # noqa: SIM115 - open until close()
            self._sound.setnchannels(format.sound_channels)
            self._sound.setsampwidth(2)
            self._sound.setframerate(format.sound_rate)

    def write_frame(self, picture: np.ndarray, pts: int) -> None:
        with writing_to(self._draft.target), (self._draft.path / f"frame_{pts:06d}.png").open("wb") as file:
            save_png(picture, file, self.format)

    def write_sound(self, pcm: np.ndarray) -> None:
        if self._sound is not None:
            block = np.clip(self.format.sound_block(pcm), -1.0, 1.0)
            with writing_to(self._draft.target):
                self._sound.writeframes(np.rint(block * 32767).astype("<i2").tobytes())

    def close(self) -> None:
        if self._closed:
            return
        if self._sound is not None:
            with writing_to(self._draft.target):
                self._sound.close()
        self._draft.publish()
        self._closed = True

    def abort(self) -> None:
        if not self._closed:
            self._closed = True
            if self._sound is not None:
                self._sound.close()
            self._draft.discard()


def save_png(picture: np.ndarray, file: BinaryIO, format: StreamFormat) -> None:
    """One RGB or RGBA picture of the format's size into an open file."""
    if format.kind_of(picture) == "yuv420":
        raise ValueError("PNG frames are RGB or RGBA")
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "PNG", compress_level=FAST)
