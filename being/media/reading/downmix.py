"""Any loudspeaker layout -> what two ears hear, as players mix it (ITU-R BS.775, the coefficients of FFmpeg).

Centre and surround channels go to both sides, or to their own, 3 dB down; the low-frequency channel is left out. One
and two channels stay as they are. The model takes the mean of both sides, but where they cancel each other (a balanced
cable into a stereo jack) the louder side alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

HALF_POWER = float(np.sqrt(0.5))  # -3 dB
CANCELLED = 0.15  # power of the mean over the mean power: 1 for equal sides, 0.5 for unlike ones, 0 for opposite ones
# Where a channel goes: left and right.
_GAINS = {
    "FL": (1.0, 0.0),
    "FR": (0.0, 1.0),
    "FC": (HALF_POWER, HALF_POWER),
    "LFE": (0.0, 0.0),
    "LFE2": (0.0, 0.0),
    "SL": (HALF_POWER, 0.0),
    "SR": (0.0, HALF_POWER),
    "BL": (HALF_POWER, 0.0),
    "BR": (0.0, HALF_POWER),
    "BC": (0.5, 0.5),
    "FLC": (1.0, 0.0),
    "FRC": (0.0, 1.0),
    "WL": (1.0, 0.0),
    "WR": (0.0, 1.0),
    "DL": (1.0, 0.0),
    "DR": (0.0, 1.0),
    "TFL": (HALF_POWER, 0.0),
    "TFR": (0.0, HALF_POWER),
    "TBL": (HALF_POWER, 0.0),
    "TBR": (0.0, HALF_POWER),
    "TSL": (HALF_POWER, 0.0),
    "TSR": (0.0, HALF_POWER),
    "TC": (0.5, 0.5),
    "TFC": (0.5, 0.5),
    "TBC": (0.5, 0.5),
}
# Layouts that a number of channels stands for where the file names none (FFmpeg's defaults).
_USUAL = {
    3: ("FL", "FR", "LFE"),
    4: ("FL", "FR", "FC", "BC"),
    5: ("FL", "FR", "FC", "BL", "BR"),
    6: ("FL", "FR", "FC", "LFE", "BL", "BR"),
    7: ("FL", "FR", "FC", "LFE", "BC", "SL", "SR"),
    8: ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR"),
}

Array = NDArray[np.float32]


@lru_cache(maxsize=64)
def gains(channels: tuple[str, ...]) -> Array:
    """(2, C) float32: what of each named channel goes left and right.

    Channels without a known name are mixed to both sides, in equal shares, where their number stands for no layout.
    """
    if not any(name in _GAINS for name in channels):
        channels = _USUAL.get(len(channels), channels)
    if not any(name in _GAINS for name in channels):
        return np.full((2, len(channels)), 1.0 / len(channels), np.float32)
    return np.array([_GAINS.get(name, (0.0, 0.0)) for name in channels], np.float32).T.copy()


def mix(planes: Array, channels: tuple[str, ...], sides: int) -> Array:
    """(C, n) of the named channels -> (n, sides): 1 where the whole file is mono, else left and right."""
    count = len(planes)
    if count == 1:
        return np.repeat(planes.T, sides, axis=1) if sides > 1 else np.ascontiguousarray(planes.T)
    if count == 2:
        return np.ascontiguousarray(planes.T)
    return np.ascontiguousarray((gains(channels) @ planes).T)


@dataclass
class Levels:
    """Power and peak of a sound, gathered block by block after mixing to two sides at most."""

    left: float = 0.0  # sums of squares
    right: float = 0.0
    mean: float = 0.0
    peak: float = 0.0

    def add(self, block: Array) -> None:
        """A block (n, 1 or 2)."""
        if not len(block):
            return
        left, right = block[:, 0], block[:, -1]
        self.left += float(np.dot(left, left))
        self.right += float(np.dot(right, right))
        if block.shape[1] == 2:
            both = 0.5 * (left + right)
            self.mean += float(np.dot(both, both))
        else:
            self.mean += float(np.dot(left, left))
        self.peak = max(self.peak, float(np.abs(block).max()))

    def __add__(self, other: Levels) -> Levels:
        peak = max(self.peak, other.peak)
        return Levels(self.left + other.left, self.right + other.right, self.mean + other.mean, peak)

    @property
    def cancel(self) -> bool:
        """Whether the sides cancel each other."""
        return self.mean < CANCELLED * 0.5 * (self.left + self.right)

    def model_weights(self) -> tuple[float, float]:
        """What of the left and of the right side the model takes."""
        if not self.cancel:
            return 0.5, 0.5
        return (1.0, 0.0) if self.left >= self.right else (0.0, 1.0)
