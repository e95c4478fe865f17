"""Idle threads of the numeric libraries take no CPU time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
{call}
import time
import numpy as np
a = np.ones((700, 700), np.float32)
a @ a
spent = time.process_time()
time.sleep({pause})
print(time.process_time() - spent)
"""
LET_SLEEP = "from being.idle_threads import let_idle_threads_sleep; let_idle_threads_sleep()"


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core: OpenBLAS starts no threads")
def test_a_matrix_product_leaves_no_thread_spinning() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "OPENBLAS_T"))}
    program = PROGRAM.format(call=LET_SLEEP, pause=0.3)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.015, "OpenBLAS spins for 0.1 s if it is let"
