"""Sound of any chunking to frames of an audio encoder's block size."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from being.media.contract import StreamFormat

if TYPE_CHECKING:
    import av


class SoundFramer:
    """Sound of any chunking to frames of the encoder's block size, with their times."""

    def __init__(self, format: StreamFormat, block: int, sample_format: str) -> None:
        self._format = format
        self._block = block
        self._sample_format = sample_format
        self._layout = "mono" if format.sound_channels == 1 else "stereo"
        self._time_base = Fraction(1, format.sound_rate)
        self._waiting: list[np.ndarray] = []
        self._held = 0
        self._position = 0

    @property
    def position(self) -> int:
        """Samples handed out so far."""
        return self._position

    def push(self, pcm: np.ndarray) -> Iterator[av.AudioFrame]:
        """Add sound; yields the frames that are complete."""
        block = self._format.sound_block(pcm)
        self._waiting.append(np.minimum(np.maximum(block, -1.0), 1.0))  # a quarter of the time of `np.clip`
        self._held += len(block)
        if self._held >= self._block:
            samples = np.concatenate(self._waiting)
            whole = len(samples) // self._block * self._block
            self._waiting = [samples[whole:]]
            self._held = len(samples) - whole
            for start in range(0, whole, self._block):
                yield self._frame(samples[start : start + self._block])

    def flush(self) -> Iterator[av.AudioFrame]:
        """The incomplete last frame, if there is one; encoders take one short frame at the end."""
        if self._held:
            samples = np.concatenate(self._waiting)
            self._waiting, self._held = [], 0
            yield self._frame(samples)

    def _frame(self, samples: np.ndarray) -> av.AudioFrame:
        import av

        planar = self._sample_format.endswith("p")
        data = samples.T if planar else samples.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(data), self._sample_format, self._layout)
        frame.sample_rate = self._format.sound_rate
        frame.time_base = self._time_base
        frame.pts = self._position
        self._position += samples.shape[0]
        return frame
