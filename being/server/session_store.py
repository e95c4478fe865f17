"""All sessions of all workers: who holds which, their last deposits, and who may come in. Pure: the time is passed in.

One of these for all workers, in the `Sessions` deployment. A session's record outlives its worker: whichever gets the
client next withdraws the last deposit and goes on from there. What is lost with this process is deposited again within
a second; only clients who come back in that second begin anew.
"""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from being.server.admission import Admission, Load
from being.server.backgrounds import LatestPictures
from being.server.client_state import Deposit
from being.server.room_plan import SETTLING_S, Room, RoomPlan, Running, WorkerUse

WORKER_LOST_S = 3.0  # a worker silent for so long is dead: its sessions wait for their clients
RESERVED_S = 120.0  # a place whose session nobody has reported for so long is given to others
GIVE_WAY_S = 2.0  # a session may be on its way to another worker for so long before it gives way to new ones


@dataclass(frozen=True, eq=False)
class WorkerReport:
    """What a worker tells each time.

    Attributes
    ----------
    held : ids of all its sessions.
    deposits : of those whose state could be taken.
    left : ids of those deposited whose clients are lost: whoever gets them may go on.
    over : ids of sessions that are over, and of places that are not needed.
    costs : seconds of renderer time a frame, by load. use : of the worker's own process, and of its renderers.
    metrics : in Prometheus' text format; left out most times.
    """

    worker: str
    held: tuple[str, ...]
    deposits: tuple[Deposit, ...]
    left: tuple[str, ...]
    over: tuple[str, ...]
    costs: Mapping[Load, float]
    use: WorkerUse = field(default_factory=WorkerUse)
    metrics: bytes | None = None


@dataclass(frozen=True)
class ReportAnswer:
    """What it is told.

    Attributes
    ----------
    store : a name that changes when all was lost.
    lost : ids of sessions that another worker has by now.
    unknown : ids of sessions whose whole state is wanted next time.
    """

    store: str
    lost: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """Why a place was not given.

    taken : there is a session of this id. settling : the measurements are not final, ask again in a moment. cost_s :
    what a frame costs, where that was too much.
    """

    taken: bool = False
    settling: bool = False
    cost_s: float = 0.0


@dataclass(eq=False)
class _Record:
    load: Load
    worker: str | None
    since: float  # of the reservation, the withdrawal, or the client's absence
    deposit: Deposit | None = None
    began: float = math.inf  # when it was deposited first: from then on frames are drawn for it


@dataclass(eq=False)
class _Worker:
    last_call: float
    costs: Mapping[Load, float] = field(default_factory=dict)
    use: WorkerUse = field(default_factory=WorkerUse)
    reported_at: float = -math.inf
    metrics: bytes = b""


class SessionStore:
    """See the module.

    Parameters
    ----------
    gone_s : float
        Seconds for which the session of a lost client is kept.
    budget, shards : as `being.server.admission.Admission` has them, of all renderers.
    """

    def __init__(self, gone_s: float, budget: float, shards: int = 1) -> None:
        self.name = secrets.token_hex(8)
        self._gone_s = gone_s
        self._now = 0.0  # of the call
        self._admission = Admission(budget, shards, now=lambda: self._now)
        self._records: dict[str, _Record] = {}
        self._workers: dict[str, _Worker] = {}
        self.pictures = LatestPictures()  # that clients have sent

    # What workers tell.

    def report(self, report: WorkerReport, now: float) -> ReportAnswer:
        """A worker's sessions as they are now."""
        known = self._worker_of(report.worker, now)
        known.costs, known.use, known.reported_at = report.costs, report.use, now
        if report.metrics is not None:
            known.metrics = report.metrics
        for session_id in report.over:
            record = self._records.get(session_id)
            if record is not None and record.worker in (None, report.worker):
                del self._records[session_id]
        lost, unknown = [], []
        for deposit in report.deposits:
            record = self._records.get(deposit.id)
            if record is not None and record.worker not in (None, report.worker):
                lost.append(deposit.id)
            elif not self._put(deposit, None if deposit.id in report.left else report.worker, now):
                unknown.append(deposit.id)
        self._let_go(report.worker, set(report.held), now)
        self._expire(now)
        self._admission.learn(self._costs())
        return ReportAnswer(self.name, tuple(lost), tuple(unknown))

    # What they ask.

    def reserve(self, worker: str, session_id: str, load: Load, now: float) -> Refused | None:
        """Hold a place for a new session; None where it was given. Lost clients' sessions give way, oldest first."""
        self._worker_of(worker, now)
        self._expire(now)
        if session_id in self._records:
            return Refused(taken=True)
        while not (plan := self._plan(now)).admits(worker, load) or plan.unmeasured(worker, load):
            waiting = [name for name, record in self._records.items() if record.worker is None]
            longest = min(waiting, key=lambda name: self._records[name].since, default=None)
            if longest is None or now - self._records[longest].since < GIVE_WAY_S:
                settling = longest is not None or plan.settles(worker, load)
                return Refused(settling=settling, cost_s=self._admission.cost(load) or 0.0)
            del self._records[longest]
        self._records[session_id] = _Record(load, worker, now)
        return None

    def withdraw(self, worker: str, session_id: str, token: str, avatar: str, now: float) -> Deposit | None:
        """The last whole deposit of a session, which is this worker's from now on; None where it is not known."""
        self._worker_of(worker, now)
        self._expire(now)
        record = self._records.get(session_id)
        if record is None or record.deposit is None or record.load.avatar != avatar:
            return None
        if not secrets.compare_digest(record.deposit.token.encode(), token.encode()):
            return None
        record.worker, record.since = worker, now
        return record.deposit

    def listing(self, now: float) -> list[dict[str, object]]:
        """All sessions as their workers told of them, the oldest first."""
        self._expire(now)
        return [
            {**record.deposit.info, "worker": record.worker, "state": "waiting" if record.worker is None else "live"}
            for record in self._records.values()
            if record.deposit is not None
        ]

    def room(self, load: Load, now: float) -> Room:
        """Further sessions of a load that would be admitted one after another."""
        self._expire(now)
        return self._plan(now).left(load)

    def metrics(self, now: float) -> dict[str, bytes]:
        """What the workers that live measured, in Prometheus' text format."""
        self._expire(now)
        return {name: worker.metrics for name, worker in self._workers.items() if worker.metrics}

    def _worker_of(self, worker: str, now: float) -> _Worker:
        known = self._workers.setdefault(worker, _Worker(now))
        known.last_call = now
        return known

    def _put(self, deposit: Deposit, worker: str | None, now: float) -> bool:
        """Keep a deposit; False where what came before it is not known."""
        record = self._records.get(deposit.id)
        whole = deposit.after(record.deposit if record is not None else None)
        if record is not None:
            if worker is None and record.worker is not None:
                record.since = now
            record.worker, record.load = worker, deposit.load
        if whole is None:
            return False
        if record is None:  # of a store before this one
            record = self._records[deposit.id] = _Record(deposit.load, worker, now, began=-math.inf)
        elif record.deposit is None:
            record.began = now
        record.deposit = whole
        return True

    def _let_go(self, worker: str, held: set[str], now: float) -> None:
        """What a worker had told of and tells no more waits for its client, until it expires."""
        for name, record in list(self._records.items()):
            if record.worker != worker or name in held:
                continue
            if record.deposit is None:
                if now - record.since > RESERVED_S:
                    del self._records[name]
            elif now - record.since > WORKER_LOST_S:
                record.worker, record.since = None, now

    def _expire(self, now: float) -> None:
        self._now = now
        for name, worker in list(self._workers.items()):
            if now - worker.last_call > WORKER_LOST_S:
                del self._workers[name]
        for name, record in list(self._records.items()):
            if record.worker is not None and record.worker not in self._workers:
                if record.deposit is None:
                    del self._records[name]  # it never began
                    continue
                record.worker, record.since = None, now
            if record.worker is None and now - record.since > self._gone_s:
                del self._records[name]

    def _plan(self, now: float) -> RoomPlan:
        running = Counter(
            Running(record.load, record.worker, now - record.began > SETTLING_S) for record in self._records.values()
        )
        workers = sorted(self._workers.items(), key=lambda item: item[1].reported_at)
        return RoomPlan(self._admission, {name: worker.use for name, worker in workers}, running)

    def _costs(self) -> dict[Load, float]:
        """Of a frame, the mean over the workers that have just measured it."""
        found: dict[Load, list[float]] = {}
        for worker in self._workers.values():
            for load, cost in worker.costs.items():
                found.setdefault(load, []).append(cost)
        return {load: sum(costs) / len(costs) for load, costs in found.items()}
