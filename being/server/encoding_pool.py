"""Threads that encode, given the work of a whole tick at once: to wake one for each session costs more than it saves.

The sessions of a tick ask in the same turn of the event loop. What was asked for in one turn goes to a thread, or to a
few where it is much, as one piece, and comes back as one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

PIECES = 2  # that one turn's work is cut into, at most
SMALLEST_PIECE = 2  # jobs

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
        pieces = min(PIECES, max(1, len(asked) // SMALLEST_PIECE))
        for piece in range(pieces):
            jobs = asked[piece::pieces]
            try:
                self.executor.submit(_run, loop, jobs)
            except RuntimeError as error:  # the server is closing
                _settle(jobs, [error] * len(jobs))


def _run(loop: asyncio.AbstractEventLoop, jobs: Sequence[Job]) -> None:
    outcomes: list[BaseException | None] = []
    for work, waiting in jobs:
        try:
            if not waiting.cancelled():
                work()
            outcomes.append(None)
        except BaseException as error:
            outcomes.append(error)
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(_settle, jobs, outcomes)


def _settle(jobs: Sequence[Job], outcomes: Sequence[BaseException | None]) -> None:
    for (_, waiting), error in zip(jobs, outcomes, strict=True):
        if waiting.done():
            continue
        if error is None:
            waiting.set_result(None)
        else:
            waiting.set_exception(error)
