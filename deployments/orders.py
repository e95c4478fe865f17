"""What waits for a thread: callers' orders, all live ones together, else one of the others."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from being.graph.rendered_batch import Answer, RenderedBatch


@dataclass(eq=False, kw_only=True)
class Order:
    """A caller's tick. over : it was answered or cancelled."""

    answer: Answer
    live: bool
    over: bool = False

    def cancel(self) -> None:
        """Nobody waits for it any more: before its turn it costs nothing."""
        self.over = True

    def settle(self, result: RenderedBatch | Exception) -> None:
        if not self.over:
            self.over = True
            self.answer(result)


OrderT = TypeVar("OrderT", bound=Order)


class OrderQueue(Generic[OrderT]):
    """Orders in the order they came, given out to one thread. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._live: deque[OrderT] = deque()
        self._unhurried: deque[OrderT] = deque()
        self._waiting = threading.Condition()

    def put(self, order: OrderT) -> None:
        with self._waiting:
            (self._live if order.live else self._unhurried).append(order)
            self._waiting.notify()

    def put_back(self, order: OrderT) -> None:
        """Before those that wait: it is not done yet."""
        with self._waiting:
            (self._live if order.live else self._unhurried).appendleft(order)
            self._waiting.notify()

    def live(self) -> list[OrderT]:
        """Live orders that wait now."""
        with self._waiting:
            return [order for order in self._live if not order.over]

    def unhurried(self) -> list[OrderT]:
        """One of the orders that are not live, if there is one; does not wait."""
        with self._waiting:
            while self._unhurried:
                if not (order := self._unhurried.popleft()).over:
                    return [order]
        return []

    def next(self) -> list[OrderT]:
        """All live orders, or one of the others, once there is one; never one that is over."""
        while True:
            with self._waiting:
                while not self._live and not self._unhurried:
                    self._waiting.wait()
                orders = list(self._live) if self._live else [self._unhurried.popleft()]
                self._live.clear()
            if wanted := [order for order in orders if not order.over]:
                return wanted
