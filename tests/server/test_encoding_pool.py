"""The encoding pool: a turn's work in few pieces, errors where they belong, nothing lost when it closes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from being.server.encoding_pool import PIECES, EncodingPool


class CountingExecutor(ThreadPoolExecutor):
    """How often a thread was given work."""

    def __init__(self) -> None:
        super().__init__(4)
        self.given = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.given += 1
        return super().submit(fn, *args, **kwargs)


def test_what_is_asked_for_in_one_turn_goes_to_few_threads() -> None:
    done: list[int] = []

    async def scenario(count: int) -> int:
        with CountingExecutor() as executor:
            pool = EncodingPool(executor)
            await asyncio.gather(*(pool.encode(partial(done.append, number)) for number in range(count)))
            return executor.given

    assert asyncio.run(scenario(1)) == 1
    assert asyncio.run(scenario(3)) == 1
    assert asyncio.run(scenario(9)) == PIECES
    assert sorted(done) == sorted([0, 0, 1, 2, *range(9)])


def test_a_failure_is_raised_where_it_was_asked_for() -> None:
    def fail() -> None:
        raise ValueError("no codec")

    async def scenario() -> list[BaseException | None]:
        with ThreadPoolExecutor(1) as executor:
            pool = EncodingPool(executor)
            jobs = [pool.encode(work) for work in (lambda: None, fail, lambda: None)]
            return await asyncio.gather(*jobs, return_exceptions=True)

    before, failed, after = asyncio.run(scenario())
    assert before is None and after is None and isinstance(failed, ValueError)


def test_work_that_nobody_waits_for_any_more_is_left_out() -> None:
    gate, entered, done = threading.Event(), threading.Event(), []

    def first() -> None:
        entered.set()
        assert gate.wait(10)

    async def scenario() -> None:
        with ThreadPoolExecutor(1) as executor:
            pool = EncodingPool(executor)
            running = asyncio.create_task(pool.encode(first))
            given_up = asyncio.create_task(pool.encode(lambda: done.append(1)))
            await asyncio.to_thread(entered.wait, 10)
            given_up.cancel()
            await asyncio.sleep(0)
            gate.set()
            await running

    asyncio.run(scenario())
    assert not done


def test_a_pool_that_was_shut_down_says_so() -> None:
    async def scenario() -> None:
        executor = ThreadPoolExecutor(1)
        executor.shutdown()
        await EncodingPool(executor).encode(lambda: None)

    with pytest.raises(RuntimeError, match="shutdown"):
        asyncio.run(scenario())
