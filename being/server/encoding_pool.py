"""Threads that encode, given the work of a whole tick at once: to wake one for each session costs more than it saves.

The sessions of a tick ask in the same turn of the event loop. What was asked for in one turn goes to a thread as one
piece and comes back as one, or as several where it takes long, as that of large pictures does.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from functools import partial

THREADS = 4
PIECE_S = 0.005  # processor time of a piece, about
REMEMBERED = 0.05  # how much the last job counts in what one is expected to take

Job = tuple[Callable[[], object], asyncio.Future[None]]


class EncodingPool:
    """Use `encode` on one event loop.

    Attributes
    ----------
    executor : the threads, for work that is not of a tick.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self._asked: list[Job] = []
        self._job_s = 0.0015  # processor time of one

    async def encode(self, work: Callable[[], object]) -> None:
        """Run `work` on a thread; what it raises is raised here."""
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()
        if not self._asked:
            loop.call_soon(self._send, loop)
        self._asked.append((work, waiting))
        await waiting

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        asked, self._asked = self._asked, []
        pieces = max(1, min(math.ceil(len(asked) * self._job_s / PIECE_S), THREADS, len(asked)))
        for piece in range(pieces):
            jobs = asked[piece::pieces]
            try:
                running = self.executor.submit(self._run, loop, jobs)
            except RuntimeError:  # the server is closing
                _settle(jobs, [_closed()] * len(jobs))
            else:
                running.add_done_callback(partial(_lost, loop, jobs))

    def _run(self, loop: asyncio.AbstractEventLoop, jobs: Sequence[Job]) -> None:
        outcomes: list[BaseException | None] = []
        for work, waiting in jobs:
            started = time.thread_time()
            try:
                if not waiting.cancelled():
                    work()
                outcomes.append(None)
            except StopIteration as error:  # which a future does not take
                outcomes.append(RuntimeError(repr(error)))
            except BaseException as error:
                outcomes.append(error)
            self._job_s += REMEMBERED * (time.thread_time() - started - self._job_s)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_settle, jobs, outcomes)


def _closed() -> RuntimeError:
    return RuntimeError("cannot encode after shutdown")


def _lost(loop: asyncio.AbstractEventLoop, jobs: Sequence[Job], running: Future[None]) -> None:
    """A piece that was waiting for a thread when the server closed is not run any more."""
    if running.cancelled():
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, jobs, [_closed()] * len(jobs))


def _settle(jobs: Sequence[Job], outcomes: Sequence[BaseException | None]) -> None:
    for (_, waiting), error in zip(jobs, outcomes, strict=True):
        if waiting.done():
            continue
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)
