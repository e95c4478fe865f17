"""Idle threads of OpenMP and OpenBLAS sleep instead of spinning for the next call.

Between two matrix products they would take the cores from the threads that draw: on two cores a live frame costs twice
the CPU time, and a film is made at 4 times real time instead of 5.3.
"""

from __future__ import annotations

import os

# OpenBLAS spins for 2 to this power clock ticks; 4 is the least it takes.
SLEEPING = {"OMP_WAIT_POLICY": "passive", "OPENBLAS_THREAD_TIMEOUT": "4"}


def let_idle_threads_sleep() -> None:
    """Call before NumPy and PyTorch are loaded, which read this once. What the user has set stays."""
    for name, value in SLEEPING.items():
        os.environ.setdefault(name, value)
