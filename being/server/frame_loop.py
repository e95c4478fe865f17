"""The scheduler on a real clock: ticks start when due, go through the graph, and are handed to the client sessions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Protocol

from being.graph.contract import Graph
from being.live.scheduler import Delivery, Pacing, Scheduler, Tick
from being.live.session import Session
from being.server.metrics import Meter

log = logging.getLogger(__name__)

Now = Callable[[], float]

LONGEST_REASON = 300  # characters of why a tick was not drawn
LIVE_S = 0.4  # sound that waits longer was made beforehand


class DeliverySink(Protocol):
    """Takes what the scheduler has for one session."""

    session: Session

    def push(self, delivery: Delivery, now: float) -> None: ...


class FrameLoop:
    """Runs until closed. One for an ingress replica; everything happens on its event loop."""

    def __init__(self, graph: Graph, meter: Meter, *, pacing: Pacing | None = None, now: Now = time.monotonic) -> None:
        self._graph = graph
        self._meter = meter
        self._now = now
        self.scheduler = Scheduler(now(), pacing=pacing)
        self._sinks: dict[str, DeliverySink] = {}
        self._awake = asyncio.Event()
        self._flying: dict[int, asyncio.Task[None]] = {}  # by the tick's number
        self._running: asyncio.Task[None] | None = None
        self._failing = False

    def start(self) -> None:
        self._running = asyncio.create_task(self._run(), name="being-frame-loop")

    async def close(self) -> None:
        tasks = [*self._flying.values(), *([self._running] if self._running else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def drain(self) -> None:
        """Start no more ticks, and hand out what those under way still bring: no session moves any more."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, *self._flying.values(), return_exceptions=True)

    @property
    def alive(self) -> bool:
        return self._running is not None and not self._running.done()

    def join(self, sink: DeliverySink) -> None:
        self._sinks[sink.session.id] = sink
        self.scheduler.join(sink.session)

    def leave(self, sink: DeliverySink) -> None:
        if self._sinks.get(sink.session.id) is sink:
            del self._sinks[sink.session.id]
            self.scheduler.leave(sink.session.id)

    def interrupted(self) -> None:
        """A session was interrupted: what it had under way is dropped, and its next frame waits for nothing old."""
        now = self._now()
        dropped, deliveries = self.scheduler.interrupted(now)
        for number in dropped:
            if (task := self._flying.get(number)) is not None:
                task.cancel()
        self._hand_out(deliveries, now)
        self._awake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._awake.clear()
            now = self._now()
            tick, deliveries = self.scheduler.start(now)
            self._hand_out(deliveries, now)
            if tick is not None:
                self._note_waiting()
                self._flying[tick.number] = loop.create_task(self._draw(tick))
            alarm = loop.call_later(max(0.0, self.scheduler.next_due(now) - self._now()), self._awake.set)
            await self._awake.wait()
            alarm.cancel()

    def _note_waiting(self) -> None:
        """How long sound that is spoken now has waited; what was sent long before says nothing about the clock."""
        for sink in self._sinks.values():
            if sink.session.talking and 0 <= sink.session.spare_s < LIVE_S:
                self._meter.observe("being_stage_seconds", sink.session.spare_s, stage="sound")

    async def _draw(self, tick: Tick) -> None:
        """One pass. An answer later than the scheduler's patience finds nobody: the pass is cancelled."""
        try:
            await self._pass(tick)
        finally:
            self._flying.pop(tick.number, None)
            self._awake.set()

    async def _pass(self, tick: Tick) -> None:
        started = self._now()
        late = max(request.count for request in tick.requests) > 1
        self._meter.add("being_ticks")
        self._meter.add("being_late_ticks", float(late))
        self._meter.add("being_faded_ticks", float(self.scheduler.refine_fade.share < 1))
        try:
            async with asyncio.timeout(self.scheduler.patience_s):  # no task of its own, as wait_for makes
                records = await self._graph.submit(tick.requests)
        except TimeoutError:
            self._fail(tick, "late")
        except Exception as error:
            self._fail(tick, f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST_REASON])
        else:
            if self._failing:
                log.info("ticks are answered again")
                self._failing = False
            now = self._now()
            self._meter.observe("being_stage_seconds", started - tick.due, stage="wait")
            self._meter.observe("being_stage_seconds", now - started, stage="graph")
            self._hand_out(self.scheduler.finish(tick.number, records, now), now)

    def _fail(self, tick: Tick, reason: str) -> None:
        self._meter.add("being_failed_ticks")
        if not self._failing:
            log.warning("tick %d was not drawn (%s); the last pictures are shown again", tick.number, reason)
            self._failing = True
        now = self._now()
        self._hand_out(self.scheduler.finish(tick.number, reason, now), now)

    def _hand_out(self, deliveries: list[Delivery], now: float) -> None:
        for delivery in deliveries:
            sink = self._sinks.get(delivery.session)
            if sink is not None:
                sink.push(delivery, now)
