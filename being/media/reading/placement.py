"""Where decoded sound belongs on the clock: holes in the time stamps, overlaps, stamps that tremble.

Samples follow each other without a seam as long as their stamps say so within `TOLERANCE_S`. A stamp that disagrees is
believed only where those after it agree, so that one stray stamp, or a recorder whose stamps tremble, changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOLERANCE_S = 0.015  # stamps may be wrong by so much before sound is moved: less than what an eye notices at the lips
AGREEING_S = 0.25  # of sound after a stamp must agree with it
LAST_S = (0.05, 1.0)  # the last few stamps have none after them to agree with: they are believed for this only
EARLY_S = 0.5  # an overlap so near to the beginning is a beginning that was stamped too late
_SEARCHED = 4096  # frames looked through at once

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shift:
    """From frame `frame` on sound belongs `seconds` later than after its predecessor: silence; below 0, a cut."""

    frame: int
    seconds: float


@dataclass(frozen=True)
class Placement:
    """When the first frame belongs, seconds on the clock of the stamps, and what moves those after it."""

    begins_s: float
    shifts: tuple[Shift, ...] = ()


def place_frames(stamps: Floats, seconds: Floats) -> Placement:
    """How decoded frames must be moved to be where their stamps say.

    Parameters
    ----------
    stamps : (F,) seconds on the file's clock, NaN where a frame has none. seconds : (F,) how long each frame sounds.
    """
    stamps = np.where(np.diff(stamps, prepend=np.nan) == 0, np.nan, stamps)  # a clock that stands tells nothing
    known = np.flatnonzero(~np.isnan(stamps))
    if not len(known):
        return Placement(0.0)
    ends = np.cumsum(seconds)
    late = stamps - (ends - seconds)  # how much later than sound without a seam
    late = late[_nearest(known, len(late))]
    window = max(2, round(AGREEING_S / max(float(np.median(seconds)), 1e-4)))
    padded = np.concatenate([late, np.full(window, late[-1])])
    lowest = lowest_ahead(padded, window)[: len(late)]
    highest = -lowest_ahead(-padded, window)[: len(late)]
    begins = current = _first_place(late[known], window)
    shifts: list[Shift] = []
    at = 0
    while (found := _next_off(lowest, highest, current, at)) is not None:
        target = float(lowest[found] if lowest[found] > current else highest[found])
        if len(late) - found < window / 2 and not LAST_S[0] <= abs(target - current) <= LAST_S[1]:
            break
        if target < current and not shifts and ends[found] <= EARLY_S:
            begins = target  # rather earlier than cut: the first stamps were wrong
        else:
            shifts.append(Shift(found, target - current))
        current, at = target, found
    return Placement(begins, tuple(shifts))


def lowest_ahead(values: Floats, window: int) -> Floats:
    """The least of each value and the `window` - 1 after it; the last values have fewer after them.

    In time independent of the window: two running minima within blocks of its length, one from either end (van Herk,
    Pattern Recognition Letters 13, 1992). SciPy's filter does the same, but its import takes longer than most sounds.
    """
    count = len(values)
    blocks = np.full((count // window + 2) * window, np.inf)
    blocks[:count] = values
    by_block = blocks.reshape(-1, window)
    to_the_end = np.minimum.accumulate(by_block[:, ::-1], axis=1)[:, ::-1].reshape(-1)
    from_the_start = np.minimum.accumulate(by_block, axis=1).reshape(-1)
    return np.minimum(to_the_end[:count], from_the_start[window - 1 : window - 1 + count])


def _first_place(late: Floats, window: int) -> float:
    """Where the first frame belongs: where its stamp says if the next agrees, else where most of the first say."""
    if len(late) < 2 or abs(late[1] - late[0]) <= TOLERANCE_S:
        return float(late[0])
    return float(np.median(late[:window]))


def _nearest(known: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """For each frame the nearest that has a stamp: where in a damaged packet silence belongs, nobody knows."""
    frames = np.arange(count)
    after = np.searchsorted(known, frames)
    before = known[np.maximum(after - 1, 0)]
    after = known[np.minimum(after, len(known) - 1)]
    return np.where(np.abs(after - frames) <= np.abs(frames - before), after, before)


def _next_off(lowest: Floats, highest: Floats, current: float, at: int) -> int | None:
    """The first frame from `at` on where all stamps ahead agree that sound is elsewhere."""
    for first in range(at, len(lowest), _SEARCHED):
        part = slice(first, first + _SEARCHED)
        off = (lowest[part] > current + TOLERANCE_S) | (highest[part] < current - TOLERANCE_S)
        if off.any():
            return first + int(off.argmax())
    return None
