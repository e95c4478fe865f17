"""One thread that draws for many callers: whatever waits when it is free is drawn as one batch, live frames first."""

from __future__ import annotations

import asyncio
import contextlib
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from being.graph.rendered_batch import Answer, RenderedBatch, RendererLoad
from being.inference.frames import Drive
from being.inference.rendered import RenderedFrames, joined

UNHURRIED_FRAMES = 2  # how long a live frame waits for work that is not live
REMEMBERED_S = 1.0  # over which the load is told

Draw = Callable[[Sequence[Drive]], RenderedFrames]


@dataclass(eq=False)
class DrawingOrder:
    """A caller's tick. over : it was answered or cancelled."""

    drives: Sequence[Drive]
    answer: Answer
    parts: list[RenderedFrames] = field(default_factory=list)
    done: int = 0  # frames of `parts`
    seconds: float = 0.0
    over: bool = False

    def cancel(self) -> None:
        """Nobody waits for it any more: before its turn it costs nothing."""
        self.over = True

    def settle(self, result: RenderedBatch | Exception) -> None:
        if not self.over:
            self.over = True
            self.answer(result)


class DrawingThread:
    """Merges the ticks of several ingresses; work that is not live is drawn a few frames at a time in between.

    Parameters
    ----------
    draw : makes the frames of a batch, stages included; called on the thread.
    """

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._live: deque[DrawingOrder] = deque()
        self._unhurried: deque[DrawingOrder] = deque()
        self._waiting = threading.Condition()
        self._meter = _LoadMeter()
        self._name = secrets.token_hex(4)
        self._thread = threading.Thread(target=self._work, name="being-draw", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def order(self, drives: Sequence[Drive], answer: Answer, *, live: bool) -> DrawingOrder:
        """Have frames drawn; `answer` is called with them, in order, on the drawing thread. From any thread."""
        order = DrawingOrder(drives, answer)
        with self._waiting:
            (self._live if live else self._unhurried).append(order)
            self._waiting.notify()
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
        while True:
            orders, most = self._next()
            pieces = [order.drives[order.done :][:most] for order in orders]
            batch = [drive for piece in pieces for drive in piece]
            started = time.perf_counter()
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
                    self._put_back(order)

    def load(self) -> RendererLoad:
        """What there is to do now. From any thread."""
        with self._waiting:
            waiting = sum(len(order.drives) for order in self._live if not order.over)
        return RendererLoad(self._meter.busy(time.perf_counter()), waiting, self._meter.batch, self._name)

    def _put_back(self, order: DrawingOrder) -> None:
        with self._waiting:
            self._unhurried.appendleft(order)

    def _next(self) -> tuple[list[DrawingOrder], int | None]:
        """All live orders, or a few frames of one of the others."""
        while True:
            with self._waiting:
                while not self._live and not self._unhurried:
                    self._waiting.wait()
                most = None if self._live else UNHURRIED_FRAMES
                orders = list(self._live) if self._live else [self._unhurried.popleft()]
                self._live.clear()
            wanted = [order for order in orders if not order.over]
            if wanted:
                return wanted, most


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
