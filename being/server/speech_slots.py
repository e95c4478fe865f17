"""Places for `speak` requests: few at once, so that live sessions keep their renderer."""

from __future__ import annotations

from being.server.metrics import Meter
from being.server.refusals import refusal


class SpeechSlots:
    """Counts who has taken a place."""

    def __init__(self, most: int, meter: Meter) -> None:
        self._most = most
        self._meter = meter
        self._taken = 0

    def take(self) -> None:
        """Take a place; Problem 503 where all are taken."""
        if self._taken >= self._most:
            raise refusal(self._meter, "speaking", f"{self._taken} sounds are being spoken already")
        self._taken += 1

    def release(self) -> None:
        """Give it back."""
        self._taken -= 1
