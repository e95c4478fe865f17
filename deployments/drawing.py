"""One thread that draws for many callers: whatever waits when it is free is drawn as one batch, live frames first."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from being.deployments.orders import Order, OrderQueue

from being.graph.rendered_batch import Answer, RenderedBatch, RendererLoad
from being.inference.frames import Drive
from being.inference.rendered import RenderedFrames, joined

UNHURRIED_FRAMES = 2  # how long a live frame waits for work that is not live
CROWDED = 0.5  # share of the time drawing, from which on ticks wait for company: a batch costs more than its frames
GATHER_S = 0.008  # between the beginnings of two batches then
REMEMBERED_S = 1.0  # over which the load is told

Draw = Callable[[Sequence[Drive]], RenderedFrames]


@dataclass(eq=False, kw_only=True)
class DrawingOrder(Order):
    """A caller's tick, and what of it was drawn already."""

    drives: Sequence[Drive]
    parts: list[RenderedFrames] = field(default_factory=list)
    done: int = 0  # frames of `parts`
    seconds: float = 0.0


class DrawingThread:
    """Merges the ticks of several ingresses; work that is not live is drawn a few frames at a time in between.

    A renderer with time to spare draws a tick as it comes. Once it is crowded, batches begin a while apart, so that
    more ticks share what a batch costs beside its frames, and other threads have the interpreter meanwhile.

    Parameters
    ----------
    draw : makes the frames of a batch, stages included; called on the thread.
    """

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._orders: OrderQueue[DrawingOrder] = OrderQueue()
        self._meter = _LoadMeter()
        self._name = secrets.token_hex(4)
        self._thread = threading.Thread(target=self._work, name="being-draw", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def order(self, drives: Sequence[Drive], answer: Answer, *, live: bool) -> DrawingOrder:
        """Have frames drawn; `answer` is called with them, in order, on the drawing thread. From any thread."""
        order = DrawingOrder(drives=drives, answer=answer, live=live)
        self._orders.put(order)
        return order

    async def __call__(self, drives: Sequence[Drive], *, live: bool) -> RenderedBatch:
        """Frames of the drives, in order. A caller that gives up before its turn costs nothing."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[RenderedBatch] = loop.create_future()

        def settle(result: RenderedBatch | Exception) -> None:
            if waiting.done():
                return
            if isinstance(result, Exception):
                waiting.set_exception(result)
            else:
                waiting.set_result(result)

        def answer(result: RenderedBatch | Exception) -> None:
            with contextlib.suppress(RuntimeError):  # the caller's loop is closed: the replica is going down
                loop.call_soon_threadsafe(settle, result)

        order = self.order(drives, answer, live=live)
        try:
            return await waiting
        finally:
            order.cancel()

    def _work(self) -> None:
        began = -math.inf  # of the last live batch
        while True:
            orders = self._next(began)
            most = None if orders[0].live else UNHURRIED_FRAMES
            pieces = [order.drives[order.done :][:most] for order in orders]
            batch = [drive for piece in pieces for drive in piece]
            started = time.perf_counter()
            began = started if most is None else began
            try:
                drawn = self._draw(batch)
            except Exception as error:
                for order in orders:
                    order.settle(error)
                continue
            ended = time.perf_counter()
            if most is None:
                self._meter.drew(len(batch), started, ended)
            share = (ended - started) / max(1, len(batch))
            first = 0
            for order, piece in zip(orders, pieces, strict=True):
                order.parts.append(drawn.take(range(first, first + len(piece))))
                first += len(piece)
                order.done += len(piece)
                order.seconds += share * len(piece)
                if order.done == len(order.drives):
                    order.settle(RenderedBatch(joined(order.parts), order.seconds, self.load()))
                else:
                    self._orders.put_back(order)

    def _next(self, began: float) -> list[DrawingOrder]:
        """What to draw now. While live ticks gather, work that is not live has its turn."""
        pause = began + GATHER_S - (now := time.perf_counter())
        if pause > 0 and self._meter.busy(now) > CROWDED:
            if orders := self._orders.unhurried():
                return orders
            time.sleep(pause)
        return self._orders.next()

    def load(self) -> RendererLoad:
        """What there is to do now. From any thread."""
        waiting = sum(len(order.drives) for order in self._orders.live())
        return RendererLoad(self._meter.busy(time.perf_counter()), waiting, self._meter.batch, self._name)


class _LoadMeter:
    """How long live frames were drawn lately: what is older counts less, by a factor of e every `REMEMBERED_S`."""

    def __init__(self) -> None:
        self.batch = 0.0
        self._busy = 0.0
        self._until = time.perf_counter()

    def busy(self, now: float) -> float:
        """Share of the time."""
        return self._busy * math.exp(-max(0.0, now - self._until) / REMEMBERED_S)

    def drew(self, frames: int, started: float, ended: float) -> None:
        passed = ended - self._until
        old = math.exp(-passed / REMEMBERED_S)
        share = (ended - started) / passed if passed > 0 else 1.0
        self._busy = old * self._busy + (1 - old) * min(1.0, share)
        self.batch = old * self.batch + (1 - old) * frames
        self._until = ended
