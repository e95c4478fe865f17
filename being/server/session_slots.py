"""Whether there is room for one more session: by their number, and by what their frames cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from being.graph.rendered_batch import RendererLoad
from being.server.admission import Admission, Load
from being.server.client_session import ClientSession
from being.server.metrics import Meter
from being.server.problems import Problem
from being.server.refusals import refusal
from being.server.room_plan import SETTLING_S, Room, RoomPlan, Running, WorkerUse
from being.server.session_registry import SessionRegistry

REFERENCE = (512, 512)  # size that readiness counts in
HERE = ""  # name of this worker in its own plans

Loads = Callable[[], Mapping[int, Sequence[RendererLoad]]]
"""By shard, the renderers that draw for this worker as they told of themselves last."""


class SessionSlots:
    """Asks the admission, with the sessions that are there and those that are just being opened.

    Parameters
    ----------
    most : int
        Sessions, whatever they cost.
    loads : callable
        What renderers in other processes tell; none where frames are drawn in this one.
    by_cost : bool
        False: `most` alone counts.
    """

    def __init__(
        self,
        admission: Admission,
        sessions: SessionRegistry,
        most: int,
        meter: Meter,
        loads: Loads = dict,
        by_cost: bool = True,
    ) -> None:
        self._admission = admission
        self._sessions = sessions
        self._most = most
        self._meter = meter
        self._loads = loads
        self._by_cost = by_cost
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

    def check_alone(self, load: Load) -> None:
        """Problem 503 where the renderers, as they tell of themselves, have no time for the session being opened.

        For a worker that cannot ask what others have let in: a renderer's load is that of all of them.
        """
        known = Counter(Running(client.load, HERE, _age_s(client) > SETTLING_S) for client in self._sessions.all())
        known.update({Running(one, HERE, False): count for one, count in self._opening.items()})
        known[Running(load, HERE, False)] -= 1  # the one that asks
        if not RoomPlan(self._admission, {HERE: self.use()}, known).admits(HERE, load):
            raise refusal(self._meter, "cost", "no room for another session: the renderer has no time left")

    def use(self) -> WorkerUse:
        """What the directory of all workers is told."""
        loads = self._loads()
        return WorkerUse(
            self._admission.own_cost,
            self._most,
            {shard: tuple(load.renderer for load in reported) for shard, reported in loads.items()},
            {load.renderer: load.busy for reported in loads.values() for load in reported if load.busy is not None},
            self._by_cost,
        )

    def costs(self) -> dict[Load, float]:
        """Seconds of renderer time a frame, as they were measured here."""
        return self._admission.costs()

    def room(self, avatar_id: str) -> Room:
        """Further sessions of an avatar at the reference size that would be admitted now, by this worker alone."""
        return self._plan().left(Load(avatar_id, *REFERENCE))

    def frame_s(self, avatar_id: str) -> float | None:
        """Seconds of renderer time that a frame of the reference size takes, if any was drawn."""
        return self._admission.cost(Load(avatar_id, *REFERENCE))

    def _no_room(self, load: Load) -> Problem | None:
        if len(self._sessions) + self._opening.total() >= self._most:
            return refusal(self._meter, "sessions", f"this server holds {self._most} sessions and is full")
        if self._by_cost and self._sessions.faded and len(self._sessions):
            return refusal(self._meter, "cost", "no room for another session: frames of those there are come late")
        if not self._plan().admits(HERE, load):
            cost, ours = 1000 * (self._admission.cost(load) or 0), 1000 * self._admission.own_cost
            detail = f"no room for another session: a {load.width}x{load.height} frame costs {cost:.0f} ms"
            detail += f", and {ours:.0f} ms of this process" if ours else ""
            return refusal(self._meter, "cost", detail)
        return None

    def _plan(self) -> RoomPlan:
        """By this worker's own measurements; those of renderers are its own sessions' and others'."""
        running = {Running(load, HERE): count for load, count in (self._sessions.loads() + self._opening).items()}
        use = WorkerUse(self._admission.own_cost, self._most, by_cost=self._by_cost)
        return RoomPlan(self._admission, {HERE: use}, running)


def _age_s(client: ClientSession) -> float:
    return (datetime.now(UTC) - client.started).total_seconds()
