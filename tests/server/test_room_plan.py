"""Room on several workers and renderers: plain numbers, and bursts of arrivals at renderers of several kinds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from being.constants import FPS
from being.live.audio_timeline import TimelineState
from being.server.admission import Admission, Load, shard_of
from being.server.client_state import Deposit
from being.server.room_plan import MOST, RISE, RendererShare, RoomPlan, Running, WorkerUse
from being.server.session_store import SessionStore, WorkerReport

LARGE = Load("a", 512, 512)


def measured(cost_s: float, load: Load = LARGE, budget: float = 0.8, shards: int = 1) -> Admission:
    admission = Admission(budget, shards)
    admission.learn({load: cost_s})
    return admission


def on(*renderers: str, busy: Mapping[str, float] | None = None, frame_s: float = 0.0, most: int = MOST) -> WorkerUse:
    return WorkerUse(frame_s, most, {0: renderers}, busy or {})


def test_sessions_fit_the_clock() -> None:
    """Ten milliseconds a frame, of 32 that may be planned: three sessions."""
    admission, workers = measured(0.010), {"one": on("r"), "two": on("r")}
    two = {Running(LARGE, "one"): 1, Running(LARGE, "two"): 1}
    assert RoomPlan(admission, workers, two).admits("one", LARGE)
    assert not RoomPlan(admission, workers, {**two, Running(LARGE, None): 1}).admits("two", LARGE), "who waits counts"
    room = RoomPlan(admission, workers, two).left(LARGE)
    assert room.in_all == 1 and room.by_worker == {"one": 1, "two": 1}, "it is the same renderer's time"
    assert room.renderers == {"r": RendererShare(None, pytest.approx(0.5))}


def test_the_first_session_is_the_measurement() -> None:
    dear = measured(0.050)
    assert RoomPlan(dear, {"one": on("r")}, {}).admits("one", LARGE)
    assert RoomPlan(dear, {"one": on("r")}, {}).left(LARGE).in_all == 1
    assert RoomPlan(Admission(), {}, {}).admits("one", LARGE), "before anybody has told of anything"
    assert RoomPlan(Admission(), {}, {Running(LARGE, "one"): 1}).unmeasured("two", LARGE)


def test_a_renderer_that_is_busier_than_its_sessions_explain_is_full() -> None:
    one = {Running(LARGE, "one"): 1}
    for busy, admitted in ((0.54, True), (0.56, False)):
        plan = RoomPlan(measured(0.010), {"one": on("r", busy={"r": busy})}, one)
        assert plan.admits("one", LARGE) is admitted and plan.settles("one", LARGE)
    idle = RoomPlan(measured(0.010), {"one": on("r", busy={"r": 0.0})}, {Running(LARGE, "one"): 3})
    assert not idle.admits("one", LARGE) and not idle.settles("one", LARGE), "it may be drawing in a moment"


def test_what_was_told_last_of_a_renderer_counts() -> None:
    workers = {"early": on("r", busy={"r": 0.7}), "late": on("r", busy={"r": 0.1})}
    assert RoomPlan(measured(0.010), workers, {Running(LARGE, "late"): 1}).admits("early", LARGE)


def test_sessions_that_were_not_measured_count_more() -> None:
    """A tenth of the renderer each: six that have settled leave room for a seventh; one and five others do not."""
    workers = {"one": on("r", busy={"r": 0.6})}
    settled = RoomPlan(measured(0.004), workers, {Running(LARGE, "one"): 6})
    assert settled.admits("one", LARGE)
    for busy in ({}, {"r": 0.1}):
        workers = {"one": on("r", busy=busy)}
        crowd = {Running(LARGE, "one"): 1, Running(LARGE, "one", settled=False): 5}
        plan = RoomPlan(measured(0.004), workers, crowd)
        assert not plan.admits("one", LARGE) and plan.settles("one", LARGE)
    assert 0.6 + 0.1 <= 0.8 < 0.6 + RISE * 5 * 0.5 + 0.1


def test_renderers_are_counted_apart() -> None:
    """Workers keep to the renderer they have; who has none yet may get any."""
    admission = measured(0.030)
    workers = {"one": on("left"), "two": on("right"), "three": WorkerUse()}
    plan = RoomPlan(admission, workers, {Running(LARGE, "one"): 1})
    assert not plan.admits("one", LARGE) and plan.admits("two", LARGE)
    assert plan.left(LARGE).in_all == 1
    spread = {"one": on("left", "right")}
    assert RoomPlan(measured(0.010), spread, {}).left(LARGE).in_all == 6, "each request may go to either"


def test_shards_are_counted_apart() -> None:
    names = [f"avatar{number}" for number in range(40)]
    here = [name for name in names if shard_of(name, 2) == 0]
    there = next(name for name in names if shard_of(name, 2) == 1)
    busy = Load(here[0], 512, 512)
    plan = RoomPlan(measured(0.030, busy, shards=2), {"one": WorkerUse()}, {Running(busy, "one"): 1})
    assert not plan.admits("one", Load(here[1], 512, 512))
    assert plan.admits("one", Load(there, 512, 512))


def test_a_process_is_full_at_one_core() -> None:
    """Nine milliseconds of the process for each frame: four sessions are 0.9 of a core, a fifth does not fit."""
    workers = {"one": on("r", frame_s=0.009), "two": on("r", frame_s=0.02, most=1)}
    admission = measured(0.0001)
    three = RoomPlan(admission, workers, {Running(LARGE, "one"): 3})
    assert three.admits("one", LARGE)
    four = RoomPlan(admission, workers, {Running(LARGE, "one"): 4})
    assert not four.admits("one", LARGE) and not four.settles("one", LARGE) and four.admits("two", LARGE)
    room = RoomPlan(admission, workers, {Running(LARGE, "one"): 1}).left(LARGE)
    assert room.by_worker == {"one": 3, "two": 1} and room.in_all == 4


def test_without_admission_only_the_number_counts() -> None:
    """Frames that nobody could pay, on a renderer and in processes that are full: as many as `most` all the same."""
    busy = {"r": 1.0}
    use = WorkerUse(0.03, 3, {0: ("r",)}, busy, by_cost=False)
    running = {Running(LARGE, "one"): 2, Running(LARGE, "two", settled=False): 1}
    plan = RoomPlan(measured(0.050), {"one": use, "two": use}, running)
    assert plan.admits("one", LARGE) and not plan.unmeasured("one", LARGE)
    room = plan.left(LARGE)
    assert room.by_worker == {"one": 1, "two": 2} and room.in_all == 3
    full = RoomPlan(measured(0.050), {"one": use, "two": use}, {Running(LARGE, "one"): 3})
    assert not full.admits("one", LARGE) and not full.settles("one", LARGE) and full.admits("two", LARGE)
    nothing_known = RoomPlan(Admission(), {"one": use, "two": use}, {Running(LARGE, "one"): 1})
    assert not nothing_known.unmeasured("two", LARGE) and nothing_known.left(LARGE).in_all == 5
    beside = WorkerUse(0.03, 3, {0: ("r",)}, busy)
    assert not RoomPlan(measured(0.050), {"one": use, "two": beside}, running).admits("two", LARGE)


OWN_S = 0.004  # of a worker's own process for each frame
Law = Callable[[int], float]
"""Seconds of a frame where so many sessions are drawn."""
LAWS: dict[str, Law] = {
    "the same": lambda sessions: 0.004,
    "dearer with each, as processes share cores": lambda sessions: 0.002 * (1 + 0.06 * sessions),
    "cheaper in larger batches, as on a GPU": lambda sessions: 0.0006 + 0.0030 / max(1, sessions),
    "dearer at once, as another program has come": lambda sessions: 0.003 if sessions < 3 else 0.0038,
}


class Simulated:
    """Workers over one directory and one renderer that draws as a law says; time is passed in."""

    def __init__(self, law: Law, workers: int) -> None:
        self.law = law
        self.store = SessionStore(gone_s=10.0, budget=0.85)
        self.sessions: list[tuple[str, str]] = []
        self._workers = [f"worker{number}" for number in range(workers)]
        self._busy = self._cost = 0.0

    @property
    def load(self) -> float:
        """What the sessions would need of the renderer's time."""
        return len(self.sessions) * FPS * self.law(len(self.sessions))

    def arrive(self, number: int, now: float) -> bool:
        worker = self._workers[number % len(self._workers)]
        if self.store.reserve(worker, f"s{number}", LARGE, now) is not None:
            return False
        self.sessions.append((worker, f"s{number}"))
        return True

    def tell(self, seconds: float, now: float) -> None:
        """Measurements follow with a lag of a second, as the renderer's and the workers' do."""
        follow = min(1.0, seconds)
        self._busy += follow * (min(1.0, self.load) - self._busy)
        self._cost += follow * (self.law(len(self.sessions)) - self._cost) if self._cost else self.law(1)
        for worker in self._workers:
            held = tuple(name for owner, name in self.sessions if owner == worker)
            costs = {LARGE: self._cost} if held else {}
            use = on("r", busy={"r": self._busy} if held else {}, frame_s=OWN_S)
            deposits = tuple(deposit(name) for name in held)
            self.store.report(WorkerReport(worker, held, deposits, (), (), costs, use), now)


def deposit(name: str) -> Deposit:
    nothing = TimelineState(0, 0, ())
    return Deposit(name, "token", LARGE, True, b"", nothing, nothing, 0, 0, {})


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
@pytest.mark.parametrize("workers", [1, 3, 8])
def test_sixty_four_at_once_cannot_overbook(law: Law, workers: int) -> None:
    """All within a second, on several workers with one renderer; each asks ten times a second until it gets a place."""
    simulated = Simulated(law, workers)
    waiting = list(range(64))
    most = 0.0
    for step in range(300):
        now = 0.1 * step
        arrived = waiting if step >= 10 else waiting[: 7 * step]
        waiting = [number for number in waiting if number not in arrived or not simulated.arrive(number, now)]
        if step % 6 == 0:
            simulated.tell(0.6, now)
        most = max(most, simulated.load)
    assert most <= 0.95, "every frame of everybody is drawn in time, with some to spare"
    by_worker = Counter(owner for owner, _ in simulated.sessions)
    full = round(1 / (FPS * OWN_S))
    assert max(by_worker.values()) <= full
    assert simulated.load > 0.65 or min(by_worker.values()) == full, "and what there is is put to use"
