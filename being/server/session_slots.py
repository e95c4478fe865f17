"""Whether there is room for one more session: by their number, and by what their frames cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from being.server.admission import Admission, Load
from being.server.metrics import Meter
from being.server.problems import Problem
from being.server.refusals import refusal
from being.server.session_registry import SessionRegistry

REFERENCE = (512, 512)  # size that readiness counts in


class SessionSlots:
    """Asks the admission, with the sessions that are there and those that are just being opened.

    Parameters
    ----------
    most : int
        Sessions, whatever they cost.
    """

    def __init__(self, admission: Admission, sessions: SessionRegistry, most: int, meter: Meter) -> None:
        self._admission = admission
        self._sessions = sessions
        self._most = most
        self._meter = meter
        self._opening: Counter[Load] = Counter()

    @contextmanager
    def opening(self, load: Load) -> Iterator[None]:
        """Hold a place while a session is made; Problem 503 where there is none.

        Sessions that only wait for their clients give way.
        """
        while (refused := self._no_room(load)) is not None:
            if not self._sessions.give_way():
                raise refused
        self._opening[load] += 1
        try:
            yield
        finally:
            self._opening[load] -= 1

    def room(self, avatar_id: str) -> int:
        """Further sessions of an avatar at the reference size that would be admitted now."""
        free = self._most - len(self._sessions)
        return self._admission.room(self._running(), Load(avatar_id, *REFERENCE), max(0, free))

    def frame_s(self, avatar_id: str) -> float | None:
        """Seconds of renderer time that a frame of the reference size takes, if any was drawn."""
        return self._admission.cost(Load(avatar_id, *REFERENCE))

    def _no_room(self, load: Load) -> Problem | None:
        if len(self._sessions) + self._opening.total() >= self._most:
            return refusal(self._meter, "sessions", f"this server holds {self._most} sessions and is full")
        if self._sessions.faded and len(self._sessions):
            return refusal(self._meter, "cost", "no room for another session: frames of those there are come late")
        if not self._admission.admits(self._running(), load):
            cost, ours = 1000 * (self._admission.cost(load) or 0), 1000 * self._admission.own_cost
            detail = f"no room for another session: a {load.width}x{load.height} frame costs {cost:.0f} ms"
            detail += f", and {ours:.0f} ms of this process" if ours else ""
            return refusal(self._meter, "cost", detail)
        return None

    def _running(self) -> dict[Load, int]:
        return dict(self._sessions.loads() + self._opening)
