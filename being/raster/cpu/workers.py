"""Runs one function on several threads at once: the helper threads every CPU kernel shares.

numba's own thread layers are left alone: the one that is always there (`workqueue`) breaks when two Python threads use
it, and OpenMP's workers spin between kernels, which slows every other thread of the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from being.processors import usable_processors

Result = TypeVar("Result")

MOST_THREADS = 8  # a picture is too small to share among more

_limit = MOST_THREADS


def limit_threads(count: int) -> None:
    """Draw with at most so many threads in this process from now on, where nobody asks for a number."""
    global _limit
    _limit = max(1, min(count, MOST_THREADS))


def default_threads() -> int:
    """Return how many threads a picture is drawn with: the CPUs this process may use, at most `limit_threads`."""
    return max(1, min(usable_processors(), _limit))


_helpers: ThreadPoolExecutor | None = None


def _forget_helpers() -> None:
    """Drop the pool in a forked child, where its threads do not exist."""
    global _helpers
    _helpers = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)


def run_on_threads(function: Callable[[int], Result], threads: int) -> list[Result]:
    """Call function(0) here and function(1) ... function(threads - 1) on helper threads; return all results in order.

    Parallel where the function releases the GIL. The functions must not wait for each other.
    """
    global _helpers
    if threads == 1:
        return [function(0)]
    if _helpers is None:
        _helpers = ThreadPoolExecutor(max_workers=64, thread_name_prefix="being-raster")  # started only as needed
    others = [_helpers.submit(function, part) for part in range(1, threads)]
    return [function(0), *(other.result() for other in others)]
