"""Helper threads: results in order, errors passed on, sensible defaults."""

from __future__ import annotations

import threading

import pytest

from being.raster.cpu.workers import MOST_THREADS, default_threads, limit_threads, run_on_threads


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order_and_part_0_runs_here(threads: int) -> None:
    results = run_on_threads(lambda part: (part, threading.get_ident()), threads)
    assert [part for part, _ in results] == list(range(threads))
    assert results[0][1] == threading.get_ident()
    assert all(thread != threading.get_ident() for _, thread in results[1:])


def test_an_error_of_a_helper_is_raised_here() -> None:
    def fail_on_helpers(part: int) -> None:
        if part == 1:
            raise ArithmeticError("part 1")

    with pytest.raises(ArithmeticError, match="part 1"):
        run_on_threads(fail_on_helpers, 2)


def test_default_is_bounded() -> None:
    assert 1 <= default_threads() <= MOST_THREADS
    try:
        limit_threads(1)
        assert default_threads() == 1
    finally:
        limit_threads(MOST_THREADS)
