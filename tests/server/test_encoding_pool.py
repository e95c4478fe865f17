"""The encoding pool: a turn's work in few pieces, errors where they belong, nothing lost when it closes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from being.server.encoding_pool import EncodingPool


class CountingExecutor(ThreadPoolExecutor):
    """How often a thread was given work."""

    def __init__(self) -> None:
        super().__init__(4)
        self.given = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.given += 1
        return super().submit(fn, *args, **kwargs)


def busy(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_what_is_asked_for_in_one_turn_goes_to_one_thread_where_it_is_little() -> None:
    done: list[int] = []

    async def scenario(count: int) -> int:
        with CountingExecutor() as executor:
            pool = EncodingPool(executor)
            await asyncio.gather(*(pool.encode(partial(done.append, number)) for number in range(count)))
            return executor.given

    assert asyncio.run(scenario(1)) == 1
    assert asyncio.run(scenario(3)) == 1
    assert done == [0, 0, 1, 2]


def test_what_takes_long_goes_to_several_threads() -> None:
    async def scenario() -> int:
        with CountingExecutor() as executor:
            pool = EncodingPool(executor)
            for _ in range(20):  # it learns what a job takes
                await asyncio.gather(*(pool.encode(partial(busy, 0.009)) for _ in range(3)))
            before = executor.given
            await asyncio.gather(*(pool.encode(partial(busy, 0.009)) for _ in range(3)))
            return executor.given - before

    assert asyncio.run(scenario()) == 3


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


def test_work_that_waits_for_a_thread_when_the_pool_closes_is_answered() -> None:
    gate, entered = threading.Event(), threading.Event()

    def first() -> None:
        entered.set()
        assert gate.wait(10)

    async def scenario() -> list[BaseException | None]:
        executor = ThreadPoolExecutor(1)
        pool = EncodingPool(executor)
        running = asyncio.create_task(pool.encode(first))
        await asyncio.to_thread(entered.wait, 10)
        waiting = asyncio.create_task(pool.encode(lambda: None))
        await asyncio.sleep(0.05)
        executor.shutdown(wait=False, cancel_futures=True)
        gate.set()
        return await asyncio.wait_for(asyncio.gather(running, waiting, return_exceptions=True), 5)

    ran, lost = asyncio.run(scenario())
    assert ran is None and isinstance(lost, RuntimeError)
