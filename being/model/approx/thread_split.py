"""Threads that share out the blocks of one kernel call over an atomic counter.

Each thread calls a kernel once per frame and takes blocks until none is left, so the interpreter lock is taken once per
thread, and a thread that was held up leaves its blocks to the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from being.raster.cpu.workers import run_on_threads


def run(work: Callable[[npt.NDArray[np.int64]], Any], threads: int) -> None:
    """Call `work(queue)` on `threads` threads, one of them the caller's; `queue` is a shared counter at zero."""
    queue = np.zeros(1, np.int64)
    run_on_threads(lambda _: work(queue), threads)
