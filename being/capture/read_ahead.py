"""Work done ahead on other threads and handed out in order: what must go frame by frame need not wait for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

WORKERS = 4  # enough to keep one that goes frame by frame busy


def ahead(jobs: Iterable[Callable[[], T]], workers: int = WORKERS) -> Iterator[T]:
    """What the jobs return, in their order; at most two for each worker are begun before their turn.

    The first exception of a job, or of `jobs` itself, ends it. Jobs should be such as let other threads run: reading
    and writing pictures, scaling, converting.
    """
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
