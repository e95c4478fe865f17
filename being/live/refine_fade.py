"""How much of the refiner is left while drawing cannot keep up: it goes first, before any frame is repeated."""

from __future__ import annotations

from being.constants import FPS

STEP_DOWN = 0.25  # of the strength, a tick that runs late: gone after four, within 160 ms
STEP_UP = 1 / FPS  # a tick that keeps up: back within a second
HOLD = 2 * FPS  # ticks without trouble before it comes back; twice as many after each fall that follows soon
LONGEST_HOLD = 60 * FPS
FORGIVEN = 20 * FPS  # ticks at full strength after which a fall counts as the first again
LEVELS = 16  # strengths are told in steps, so that sessions of one strength stay one group


class RefineFade:
    """Told of each tick; `share` is what strengths are to be multiplied by, in [0, 1]."""

    def __init__(self) -> None:
        self._share = 1.0
        self._hold = HOLD
        self._steady = 0  # ticks since the last late one

    @property
    def share(self) -> float:
        """1 while everything is drawn in time."""
        return round(self._share * LEVELS) / LEVELS

    def late(self) -> None:
        """A tick came late, or was given up."""
        if self.share == 1:
            self._hold = HOLD if self._steady >= FORGIVEN else min(2 * self._hold, LONGEST_HOLD)
        self._share = max(0.0, self._share - STEP_DOWN)
        self._steady = 0

    def in_time(self) -> None:
        """A tick kept up."""
        self._steady += 1
        if self._steady >= self._hold:
            self._share = min(1.0, self._share + STEP_UP)
