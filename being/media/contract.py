"""The contract every format keeps: frames with a presentation time in, sound in, close or abort.

A picture is one numpy array of uint8, told apart by its shape:

| shape | content |
| --- | --- |
| (H, W, 3) | RGB, full range, sRGB |
| (H, W, 4) | RGB and straight (not premultiplied) alpha |
| (3 H / 2, W) | planes Y, U, V of 4:2:0, BT.709, limited range: already what H.264 wants |
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import numpy as np

from being.constants import CHOOSE_SIDES, FPS, MAX_FRAME_SIDE, MIN_FRAME_SIDE, SOUND_RATE
from being.errors import InputError

PictureKind = Literal["rgb", "rgba", "yuv420"]


@dataclass(frozen=True)
class StreamFormat:
    """What a writer is opened with.

    Parameters
    ----------
    width, height : int
        Pixels. Even for H.264 and VP9, whose colour planes are half as large.
    fps : int
        Frames a second; presentation times are whole frames of this rate.
    sound_rate : int
        Hz of the sound written.
    sound_channels : int
        0 for no sound, 1 for mono, 2 for stereo.
    """

    width: int
    height: int
    fps: int = FPS
    sound_rate: int = SOUND_RATE
    sound_channels: int = 1

    def __post_init__(self) -> None:
        if not all(MIN_FRAME_SIDE <= side <= MAX_FRAME_SIDE for side in (self.width, self.height)):
            raise InputError(f"a picture of {self.width}x{self.height} cannot be written", CHOOSE_SIDES)
        if self.sound_channels not in (0, 1, 2):
            raise InputError(f"{self.sound_channels} sound channels cannot be written", "Use mono or stereo sound")

    def require_even(self) -> None:
        """Refuse the odd sides that 4:2:0 video cannot hold."""
        if self.width % 2 or self.height % 2:
            raise InputError(
                f"a video of {self.width}x{self.height} cannot be written: its sides must be even",
                f"{CHOOSE_SIDES}, or write PNG frames",
            )

    def kind_of(self, picture: np.ndarray) -> PictureKind:
        """Which of the three forms `picture` has; a ValueError names the shape where it has none of them."""
        if picture.dtype == np.uint8:
            if picture.shape == (self.height, self.width, 3):
                return "rgb"
            if picture.shape == (self.height, self.width, 4):
                return "rgba"
            if picture.shape == (self.height * 3 // 2, self.width) and self.height % 2 == 0:
                return "yuv420"
        raise ValueError(
            f"picture {picture.shape} {picture.dtype} is not RGB, RGBA or YUV 4:2:0 of {self.width}x{self.height}"
        )

    def sound_block(self, pcm: np.ndarray) -> np.ndarray:
        """Sound as (S, channels) float32; mono is repeated where the stream is stereo, stereo is averaged to mono."""
        block = np.atleast_2d(np.asarray(pcm, np.float32).T).T
        if block.shape[1] == self.sound_channels:
            return block
        if block.shape[1] == 1:
            return np.repeat(block, self.sound_channels, axis=1)
        if self.sound_channels == 1:
            return block.mean(axis=1, keepdims=True)
        raise ValueError(f"sound {pcm.shape} does not fit {self.sound_channels} channels")


class VideoWriter(ABC):
    """Something that takes frames and sound; as a context manager it publishes on success, leaves nothing on error.

    Frames come in order, each with its own presentation time; sound is continuous and its first sample belongs to time
    zero. The two may come interleaved in any way.
    """

    format: StreamFormat

    @abstractmethod
    def write_frame(self, picture: np.ndarray, pts: int) -> None:
        """Add a picture shown from `pts` / fps seconds on. `pts` grows from call to call, the first is 0."""

    @abstractmethod
    def write_sound(self, pcm: np.ndarray) -> None:
        """Append sound, (S,) or (S, channels) float32 in [-1, 1] at the format's rate."""

    @abstractmethod
    def close(self) -> None:
        """Finish: flush the encoders and put the result in its place."""

    @abstractmethod
    def abort(self) -> None:
        """Give up: nothing stays behind. Harmless after close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is not None:
            self.abort()
            return
        try:
            self.close()
        except BaseException:
            self.abort()
            raise
