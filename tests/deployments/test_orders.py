from __future__ import annotations

import threading
from typing import Any

from being.deployments.orders import Order, OrderQueue


def an_order(live: bool, answers: list[Any] | None = None) -> Order:
    return Order(answer=(answers if answers is not None else []).append, live=live)


def test_live_orders_come_together_and_before_one_of_the_others() -> None:
    orders = OrderQueue[Order]()
    film, speech, first, second = an_order(False), an_order(False), an_order(True), an_order(True)
    for order in (film, speech, first, second):
        orders.put(order)
    assert orders.live() == [first, second]
    assert orders.next() == [first, second]
    assert orders.live() == []
    assert orders.next() == [film]
    orders.put_back(film)
    assert [orders.next(), orders.next()] == [[film], [speech]]


def test_what_is_over_is_not_given_out_and_wakes_nobody() -> None:
    orders = OrderQueue[Order]()
    gone, gone_film, film = an_order(True), an_order(False), an_order(False)
    for order in (gone, gone_film):
        orders.put(order)
        order.cancel()
    assert orders.live() == []
    given: list[list[Order]] = []
    thread = threading.Thread(target=lambda: given.append(orders.next()), daemon=True)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    orders.put(film)
    thread.join(5)
    assert given == [[film]]


def test_an_order_is_answered_once() -> None:
    answers: list[Any] = []
    order = an_order(True, answers)
    order.settle(ValueError("first"))
    order.settle(ValueError("second"))
    assert [str(answer) for answer in answers] == ["first"]
    cancelled = an_order(True, answers)
    cancelled.cancel()
    cancelled.settle(ValueError("third"))
    assert len(answers) == 1
