"""Room for more sessions on session workers and the renderers that they share: what was measured, added up. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from being.constants import FPS
from being.server.admission import Admission, Load, shard_of

PROCESS_BUDGET = 1.0  # cores that one process with one interpreter lock may plan with; measured: at 1.1 it falls behind
RISE = 0.25  # frames may become dearer by so much where as many sessions come as there are
SETTLING_S = 2.0  # after its first frame, until measurements know of a session
MOST = 64  # sessions of a worker that has not told


@dataclass(frozen=True)
class WorkerUse:
    """What a session worker tells of itself, and of the renderers that draw for it.

    Attributes
    ----------
    frame_s : seconds of its own process that a frame takes; 0 where its sessions cost it nothing.
    most : sessions that it may hold.
    renderers : names of those that draw for it, by shard; several where each request may go to another.
    busy : share of their time that those it has just heard of are drawing live frames, for whomever.
    by_cost : False: it may hold as many as `most` whatever frames cost.
    """

    frame_s: float = 0.0
    most: int = MOST
    renderers: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    busy: Mapping[str, float] = field(default_factory=dict)
    by_cost: bool = True


class Running(NamedTuple):
    """A session that has its place.

    worker : that holds it; None while it waits for its client. settled : measurements know of it.
    """

    load: Load
    worker: str | None
    settled: bool = True


@dataclass(frozen=True)
class RendererShare:
    """Of a renderer's time: `busy` as it was measured, None where it was not; `planned` by its sessions' costs."""

    busy: float | None
    planned: float


@dataclass(frozen=True)
class Room:
    """Further sessions of a kind that would be admitted one after another.

    in_all : by whichever worker. by_worker : if all came to that one. renderers : what they have to do now, by name.
    """

    in_all: int
    by_worker: Mapping[str, int]
    renderers: Mapping[str, RendererShare] = field(default_factory=dict)


class RoomPlan:
    """What is left of the time of workers and renderers beside the sessions that there are.

    A renderer's time is the larger of what its sessions should take, by the cost of their frames, and what it was
    measured to be busy. Sessions that no measurement knows of come on top, dearer than they look, the more there are of
    them beside those that were measured: a burst of arrivals cannot overbook.

    Parameters
    ----------
    admission : what frames cost, and the share of a renderer's time that may be planned with.
    workers : the one that told last at the end: what it says of a renderer counts.
    running : how many there are of each.
    """

    def __init__(self, admission: Admission, workers: Mapping[str, WorkerUse], running: Mapping[Running, int]) -> None:
        self._admission = admission
        self._workers = workers
        self._running = running
        self._known: defaultdict[int, dict[str, None]] = defaultdict(dict)  # renderers by shard
        self._busy: dict[str, float] = {}
        for use in workers.values():
            self._busy.update(use.busy)
            for shard, names in use.renderers.items():
                self._known[shard].update(dict.fromkeys(names))
        self._held = Counter[str | None]()
        self._sessions = Counter[str]()  # by renderer
        self._unsettled = Counter[str]()  # of them
        self._planned: defaultdict[str, float] = defaultdict(float)
        self._coming: defaultdict[str, float] = defaultdict(float)  # of what is planned, by those unsettled
        for one, count in running.items():
            self._count(one, count)

    def admits(self, worker: str, asked: Load) -> bool:
        """Whether one more session of a worker fits. The first on its renderers always may: it is the measurement."""
        if not self._use(worker).by_cost:
            return self._held[worker] < self._use(worker).most
        return self._process_fits(worker) and self._renderers_fit(worker, asked, RISE, self._busy)

    def settles(self, worker: str, asked: Load) -> bool:
        """Whether one that is not admitted may be in a moment.

        That is where sessions were not measured yet, or where a renderer is busier than its sessions explain: it may
        have been held up.
        """
        if not self._use(worker).by_cost or not self._process_fits(worker):
            return False
        unsettled = any(self._unsettled[name] for name in self._renderers_of(worker, asked))
        return unsettled or self._renderers_fit(worker, asked, 0.0, {})

    def unmeasured(self, worker: str, asked: Load) -> bool:
        """Whether nothing is known of a frame's cost while others were let in to measure it: wait a moment."""
        here = any(self._sessions[name] for name in self._renderers_of(worker, asked))
        return self._use(worker).by_cost and here and self._admission.cost(asked) is None

    def left(self, asked: Load) -> Room:
        """The room for a kind of session; the plan stays as it is."""
        by_worker = {name: self._again().fill([name], asked) for name in self._workers}
        names = {name for shard in self._known.values() for name in shard}
        renderers = {name: RendererShare(self._busy.get(name), self._planned[name]) for name in sorted(names)}
        return Room(self._again().fill(self._workers, asked), by_worker, renderers)

    def fill(self, workers: Iterable[str], asked: Load) -> int:
        """Give workers in turn one session after another while they fit; how many."""
        open_ones, count = list(workers), 0
        while open_ones:
            for worker in [*open_ones]:
                if self.admits(worker, asked):
                    self._count(Running(asked, worker), 1)
                    count += 1
                else:
                    open_ones.remove(worker)
        return count

    def _again(self) -> RoomPlan:
        return RoomPlan(self._admission, self._workers, self._running)

    def _count(self, one: Running, count: int) -> None:
        names = self._renderers_of(one.worker, one.load)
        share = self._share(one.load) * count / len(names)
        self._held[one.worker] += count
        for name in names:
            self._sessions[name] += count
            self._planned[name] += share
            if not one.settled:
                self._unsettled[name] += count
                self._coming[name] += share

    def _use(self, worker: str) -> WorkerUse:
        return self._workers.get(worker, WorkerUse())

    def _process_fits(self, worker: str) -> bool:
        use, held = self._use(worker), self._held[worker]
        return held < use.most and (not held or (held + 1) * FPS * use.frame_s <= PROCESS_BUDGET)

    def _renderers_fit(self, worker: str, asked: Load, rise: float, busy: Mapping[str, float]) -> bool:
        names = self._renderers_of(worker, asked)
        if not any(self._sessions[name] for name in names):
            return True
        more = self._share(asked) / len(names)
        for name in names:
            unsettled, coming = self._unsettled[name], self._coming[name]
            dearer = rise * unsettled / max(1, self._sessions[name] - unsettled) * coming
            taken = self._planned[name] + dearer
            if name in busy:
                taken = max(taken, busy[name] + coming + dearer)
            if taken + more > self._admission.budget:
                return False
        return True

    def _share(self, load: Load) -> float:
        """Of a renderer's time that a session takes."""
        return FPS * (self._admission.cost(load) or 0.0)

    def _renderers_of(self, worker: str | None, load: Load) -> tuple[str, ...]:
        """Where a worker's session is drawn; any renderer of the shard where that is not known."""
        shard = shard_of(load.avatar, self._admission.shards)
        use = self._workers.get(worker) if worker is not None else None
        names = use.renderers.get(shard, ()) if use is not None else ()
        return names or tuple(self._known[shard]) or (f"shard {shard}",)
