"""One thread that draws for many callers: whatever waits when it is free is drawn as one batch, live frames first."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from being.inference.frames import Drive
from being.inference.rendered import RenderedFrames, joined

UNHURRIED_FRAMES = 2  # how long a live frame waits for work that is not live

Draw = Callable[[Sequence[Drive]], RenderedFrames]


@dataclass(frozen=True)
class RenderedBatch:
    """A caller's frames, and the seconds of drawing they stand for: its share of the batch."""

    frames: RenderedFrames
    seconds: float


@dataclass(eq=False)
class _Order:
    drives: Sequence[Drive]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[RenderedBatch]
    parts: list[RenderedFrames] = field(default_factory=list)
    done: int = 0  # frames of `parts`
    seconds: float = 0.0

    def settle(self, error: Exception | None = None) -> None:
        """Answer the caller, on its own loop."""

        def settle() -> None:
            if self.answer.done():
                return
            if error is None:
                self.answer.set_result(RenderedBatch(joined(self.parts), self.seconds))
            else:
                self.answer.set_exception(error)

        with contextlib.suppress(RuntimeError):  # the caller's loop is closed: the replica is going down
            self.loop.call_soon_threadsafe(settle)


class DrawingThread:
    """Merges the ticks of several ingresses; work that is not live is drawn a few frames at a time in between.

    Parameters
    ----------
    draw : makes the frames of a batch, stages included; called on the thread.
    """

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._live: deque[_Order] = deque()
        self._unhurried: deque[_Order] = deque()
        self._waiting = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="being-draw", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    async def __call__(self, drives: Sequence[Drive], *, live: bool) -> RenderedBatch:
        """Frames of the drives, in order. A caller that gives up before its turn costs nothing."""
        loop = asyncio.get_running_loop()
        order = _Order(drives, loop, loop.create_future())
        with self._waiting:
            (self._live if live else self._unhurried).append(order)
            self._waiting.notify()
        return await order.answer

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
            share = (time.perf_counter() - started) / max(1, len(batch))
            first = 0
            for order, piece in zip(orders, pieces, strict=True):
                order.parts.append(drawn.take(range(first, first + len(piece))))
                first += len(piece)
                order.done += len(piece)
                order.seconds += share * len(piece)
                if order.done == len(order.drives):
                    order.settle()
                else:
                    self._put_back(order)

    def _put_back(self, order: _Order) -> None:
        with self._waiting:
            self._unhurried.appendleft(order)

    def _next(self) -> tuple[list[_Order], int | None]:
        """All live orders, or a few frames of one of the others."""
        while True:
            with self._waiting:
                while not self._live and not self._unhurried:
                    self._waiting.wait()
                most = None if self._live else UNHURRIED_FRAMES
                orders = list(self._live) if self._live else [self._unhurried.popleft()]
                self._live.clear()
            wanted = [order for order in orders if not order.answer.cancelled()]
            if wanted:
                return wanted, most
