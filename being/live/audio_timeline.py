"""Sound on a session's own clock: samples by absolute position, silence wherever nothing was said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

BLOCK = 4096  # samples up to which what arrives in small pieces becomes one block: reading takes time for each


@dataclass(frozen=True, eq=False)
class TimelineState:
    """What a timeline knows, as plain data: samples from position `start` on, one block behind the other.

    Blocks are (S,) where `channels` is 0, else (S, channels). They may be the timeline's own: nobody writes into them.
    """

    start: int
    channels: int
    blocks: tuple[FloatArray, ...]

    @property
    def end(self) -> int:
        """Position after the last sample."""
        return self.start + sum(map(len, self.blocks))

    @property
    def pcm(self) -> FloatArray:
        """All samples, a new array."""
        return np.concatenate([_silence(0, self.channels), *self.blocks])

    def since(self, position: int) -> TimelineState:
        """What lies from a position on; nothing is copied."""
        start, blocks = self.start, list(self.blocks)
        while blocks and start + len(blocks[0]) <= position:
            start += len(blocks.pop(0))
        if blocks and start < position:
            blocks[0] = blocks[0][position - start :]
            start = position
        return TimelineState(start, self.channels, tuple(blocks))

    def extended(self, later: TimelineState) -> TimelineState:
        """With what was appended since; ValueError where that does not begin at this one's end."""
        if later.start != self.end:
            raise ValueError(f"sound from {later.start} on does not follow sound up to {self.end}")
        return TimelineState(self.start, self.channels, self.blocks + later.blocks)

    def copied(self) -> TimelineState:
        """With blocks of its own: those of a message hold on to all of its memory."""
        return TimelineState(self.start, self.channels, tuple(block.copy() for block in self.blocks))


class AudioTimeline:
    """An append-only line of samples that forgets its past on request.

    Parameters
    ----------
    channels : int
        0 for a line of plain (S,) samples, otherwise blocks are (S, channels).
    start : int
        Position of the first sample that can be appended; all before it is silence.
    """

    def __init__(self, channels: int = 0, start: int = 0) -> None:
        self._tail = (channels,) if channels else ()
        self._channels = channels
        self._blocks: list[FloatArray] = []
        self._first = start  # position of the first block's first sample
        self._known_from = start  # what lies before was forgotten
        self.end = start
        """Position after the last sample known."""

    def append(self, pcm: FloatArray) -> None:
        """Put sound at the end."""
        if pcm.shape[1:] != self._tail:
            raise ValueError(f"sound {pcm.shape} does not fit a line of blocks (S, *{self._tail})")
        if not len(pcm):
            return
        if self._blocks and len(self._blocks[-1]) + len(pcm) <= BLOCK:
            self._blocks[-1] = np.concatenate([self._blocks[-1], np.asarray(pcm, np.float32)])
        else:
            self._blocks.append(np.asarray(pcm, np.float32))
        self.end += len(pcm)

    def pad_to(self, position: int) -> None:
        """Fill up with silence so that the next sound starts at `position`; nothing happens if the line is longer."""
        if position > self.end:
            self.append(_silence(position - self.end, self._channels))

    def read(self, start: int, stop: int) -> FloatArray:
        """Samples start .. stop - 1; positions never said or forgotten are silence. Always a new array."""
        out = _silence(stop - start, self._channels)
        at = self._first
        for block in self._blocks:
            low, high = max(start, at, self._known_from), min(stop, at + len(block))
            if low < high:
                out[low - start : high - start] = block[low - at : high - at]
            at += len(block)
            if at >= stop:
                break
        return out

    def forget(self, before: int) -> None:
        """Drop what lies before a position: it will not be read again."""
        self._known_from = max(self._known_from, min(before, self.end))
        while self._blocks and self._first + len(self._blocks[0]) <= before:
            self._first += len(self._blocks.pop(0))
        if not self._blocks:
            self._first = self.end

    def state(self) -> TimelineState:
        """All that can still be read; nothing is copied."""
        return TimelineState(self._first, self._channels, tuple(self._blocks)).since(self._known_from)

    @classmethod
    def restored(cls, state: TimelineState) -> AudioTimeline:
        """The timeline that `state` was taken of."""
        timeline = cls(state.channels, state.start)
        for block in state.blocks:
            timeline.append(block)
        return timeline


def _silence(samples: int, channels: int) -> FloatArray:
    return np.zeros((samples, channels) if channels else samples, np.float32)
