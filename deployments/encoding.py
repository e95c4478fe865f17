"""One thread that encodes the sound of all ticks that wait, together, and has them drawn while it encodes the next."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from being.deployments.drawing import DrawingOrder, DrawingThread

from being.graph.rendered_batch import Answer, RenderedBatch
from being.graph.tick import AudioContexts, PreparedTick, prepare_tick
from being.live.requests import FrameRequest

Encode = Callable[[Sequence[FrameRequest]], AudioContexts]


@dataclass(eq=False)
class EncodingOrder:
    """A session worker's tick. over : it was answered or cancelled."""

    requests: Sequence[FrameRequest]
    live: bool
    answer: Answer
    over: bool = False
    drawing: DrawingOrder | None = None  # once it is encoded

    def cancel(self) -> None:
        """Nobody waits for it any more: before its turn it costs nothing."""
        self.over = True
        if self.drawing is not None:
            self.drawing.cancel()

    def settle(self, result: RenderedBatch | Exception) -> None:
        if not self.over:
            self.over = True
            self.answer(result)


class EncodingThread:
    """What is done for a tick before it is drawn.

    Parameters
    ----------
    encode : sound of many requests to their audio contexts; called on the thread.
    draw : has drives drawn.
    """

    def __init__(self, encode: Encode, draw: DrawingThread) -> None:
        self._encode = encode
        self._draw = draw
        self._live: deque[EncodingOrder] = deque()
        self._unhurried: deque[EncodingOrder] = deque()
        self._waiting = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="being-encode", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def order(self, requests: Sequence[FrameRequest], live: bool, answer: Answer) -> EncodingOrder:
        """Have requests drawn; `answer` is called with them, in order, on some thread. From any thread."""
        order = EncodingOrder(requests, live, answer)
        with self._waiting:
            (self._live if live else self._unhurried).append(order)
            self._waiting.notify()
        return order

    def _work(self) -> None:
        while True:
            orders = [order for order in self._next() if not order.over]
            try:
                contexts = self._encode([request for order in orders for request in order.requests])
                for order in orders:
                    own, contexts = contexts[: len(order.requests)], contexts[len(order.requests) :]
                    self._pass_on(order, prepare_tick(order.requests, own))
            except Exception as error:
                for order in orders:
                    order.settle(error)

    def _next(self) -> list[EncodingOrder]:
        """All live orders, or one of the others."""
        with self._waiting:
            while not self._live and not self._unhurried:
                self._waiting.wait()
            orders = [*self._live] if self._live else [self._unhurried.popleft()]
            self._live.clear()
        return orders

    def _pass_on(self, order: EncodingOrder, prepared: PreparedTick) -> None:
        def whole(drawn: RenderedBatch | Exception) -> None:
            try:
                order.settle(
                    drawn if isinstance(drawn, Exception) else replace(drawn, frames=prepared.answer(drawn.frames))
                )
            except Exception as error:  # the drawing thread must go on
                order.answer(error)

        order.drawing = self._draw.order(prepared.drives, whole, live=order.live)
        if order.over:  # since
            order.cancel()
