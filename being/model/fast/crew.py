"""A few threads that run one nogil kernel together.

numba's own parallel loops are avoided: the layer every installation has (workqueue) breaks when two threads enter it,
and the OpenMP one spins after its work, which slows the rasterizer and PyTorch. Here each thread calls the kernel once
per frame, and the kernels share out blocks over an atomic counter, so the interpreter lock is taken once per thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=max(1, usable_cores() - 1), thread_name_prefix="being-model")


def run(work: Callable[[npt.NDArray[np.int64]], Any], threads: int) -> None:
    """Call `work(queue)` on `threads` threads, one of them the caller's; `queue` is a shared int64 counter at zero."""
    queue = np.zeros(1, np.int64)
    others = [_pool().submit(work, queue) for _ in range(threads - 1)]
    try:
        work(queue)
    finally:
        for other in others:
            other.result()
