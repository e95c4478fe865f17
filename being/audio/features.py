"""The contract of a speech feature extractor: 16 kHz sound in, feature steps at 50 Hz out.

Step k describes the samples [320 k, 320 k + 320). It may read `left_context` samples before them and `right_context`
samples after; both are stated because the second is latency and the first is what a stateless worker must be sent.
Before the start and after the end of the sound there is silence, so that a file and a live stream agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from being.constants import FPS, SAMPLE_RATE

STEP = 320  # samples per feature step
STEPS_PER_SECOND = SAMPLE_RATE // STEP  # 50
STEPS_PER_FRAME = STEPS_PER_SECOND // FPS  # 2

Array = NDArray[np.float32]


class FeatureStream(Protocol):
    """Steps of sound that arrives in chunks; together they equal the steps of the whole."""

    def push(self, pcm: Array) -> Array:
        """pcm (n,) float32 -> (m, width) the steps that are now complete, m may be 0."""
        ...

    def flush(self) -> Array:
        """(m, width) the remaining steps, after the end is silence. The stream is then as new."""
        ...


class FeatureExtractor(Protocol):
    name: str
    width: int
    left_context: int
    right_context: int

    def __call__(self, pcm: Array, first: int = 0, count: int | None = None) -> Array:
        """pcm (S,) float32 16 kHz -> (count, width) steps first .. first + count - 1.

        ``first`` may be negative and steps may lie beyond the end: that is silence. count None: all that pcm touches.
        """
        ...

    def stream(self) -> FeatureStream: ...

    def push_all(self, streams: Sequence[FeatureStream], blocks: Sequence[Array]) -> list[Array]:
        """What each stream's push of its block gives, within rounding. The streams are this extractor's, each once."""
        return [stream.push(block) for stream, block in zip(streams, blocks, strict=True)]


class FeatureSpec(BaseModel):
    """Which features an avatar listens to, as written in avatar.json."""

    model_config = ConfigDict(frozen=True)

    name: str
    params: dict[str, Any] = Field(default_factory=dict)


def step_count(samples: int) -> int:
    """Steps touched by a sound of so many samples; the last may be partly silence."""
    return -(-samples // STEP)


def padded_span(pcm: Array, start: int, stop: int) -> Array:
    """pcm[start:stop] with silence wherever that lies outside: always (stop - start,)."""
    inside = pcm[max(start, 0) : max(stop, 0)]
    before = min(max(-start, 0), stop - start)
    after = stop - start - before - len(inside)
    return np.pad(np.asarray(inside, np.float32), (before, after))


class SpanStream:
    """Makes a FeatureStream of any extractor by calling it on [left context | new steps | right context].

    ``align``: an extractor that works in blocks of so many steps is asked for whole blocks, and what it is given begins
    at a block.
    """

    def __init__(self, extractor: FeatureExtractor, align: int = 1) -> None:
        self._extractor = extractor
        self._align = align
        self._keep = -(-extractor.left_context // STEP)  # steps of history
        self._ahead = extractor.right_context - (align - 1) * STEP  # samples needed after a block
        self._reset()

    def _reset(self) -> None:
        self._pcm = np.zeros(0, np.float32)
        self._start = 0  # step index of _pcm[0]
        self._next = 0  # next step to emit

    def push(self, pcm: Array) -> Array:
        self._pcm = np.concatenate([self._pcm, np.asarray(pcm, np.float32)])
        received = self._start * STEP + len(self._pcm)
        return self._emit((received - self._ahead) // STEP // self._align * self._align)

    def flush(self) -> Array:
        steps = self._emit(self._start + step_count(len(self._pcm)))
        self._reset()
        return steps

    def _emit(self, until: int) -> Array:
        count = until - self._next
        if count <= 0:
            return np.zeros((0, self._extractor.width), np.float32)
        steps = self._extractor(self._pcm, self._next - self._start, count)
        self._next = until
        drop = (self._next - self._keep) // self._align * self._align - self._start
        if drop > 0:
            self._pcm = self._pcm[drop * STEP :]
            self._start += drop
        return steps
