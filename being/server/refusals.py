"""What a client is told that comes while there is no room for it."""

from __future__ import annotations

from being.server.metrics import Meter
from being.server.problems import Problem

RETRY_AFTER_S = 5


def refusal(meter: Meter, reason: str, detail: str) -> Problem:
    """503, counted by reason."""
    meter.add("being_refused", reason=reason)
    return Problem(503, detail, "Try again in a few seconds", retry_after=RETRY_AFTER_S)
