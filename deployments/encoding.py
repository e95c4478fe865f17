"""One thread that encodes the sound of all ticks that wait, together, and has them drawn while it encodes the next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from being.deployments.drawing import DrawingOrder, DrawingThread
from being.deployments.orders import Order, OrderQueue

from being.graph.rendered_batch import Answer, RenderedBatch
from being.graph.tick import PreparedTick, prepare_tick
from being.live.requests import AudioContexts, FrameRequest

Encode = Callable[[Sequence[FrameRequest]], AudioContexts]


@dataclass(eq=False, kw_only=True)
class EncodingOrder(Order):
    """A session worker's tick; `drawing` once its sound is encoded."""

    requests: Sequence[FrameRequest]
    drawing: DrawingOrder | None = None

    def cancel(self) -> None:
        super().cancel()
        if self.drawing is not None:
            self.drawing.cancel()


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
        self._orders: OrderQueue[EncodingOrder] = OrderQueue()
        self._thread = threading.Thread(target=self._work, name="being-encode", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def order(
        self, requests: Sequence[FrameRequest], live: bool, answer: Answer, contexts: AudioContexts | None = None
    ) -> EncodingOrder:
        """Have requests drawn; `answer` is called with them, in order, on some thread. From any thread.

        contexts : of the requests where they were encoded before.
        """
        order = EncodingOrder(requests=requests, live=live, answer=answer)
        if contexts is None:
            self._orders.put(order)
        else:
            self._pass_on(order, prepare_tick(requests, contexts))
        return order

    def _work(self) -> None:
        while True:
            orders = self._orders.next()
            try:
                contexts = self._encode([request for order in orders for request in order.requests])
                for order in orders:
                    own, contexts = contexts[: len(order.requests)], contexts[len(order.requests) :]
                    self._pass_on(order, prepare_tick(order.requests, own))
            except Exception as error:
                for order in orders:
                    order.settle(error)

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
