"""Jobs done ahead come out in order, not too many of them, and none after one has failed."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from being.capture.read_ahead import ahead


def test_in_order_whoever_is_first_and_never_far_ahead() -> None:
    begun, over, lock = [], [threading.Event() for _ in range(40)], threading.Lock()

    def job(index: int) -> int:
        with lock:
            begun.append(index)
        if index % 3 == 0 and index + 1 < len(over):
            assert over[index + 1].wait(60), "the next one did not overtake"
        over[index].set()
        return index * index

    done = []
    for value in ahead((partial(job, i) for i in range(40)), workers=3):
        done.append(value)
        assert len(begun) <= len(done) + 2 * 3 + 1
    assert done == [i * i for i in range(40)] and sorted(begun) == list(range(40))


def test_the_first_failure_ends_it() -> None:
    def job(index: int) -> int:
        if index == 5:
            raise OSError("disk full")
        return index

    seen = []
    with pytest.raises(OSError, match="disk full"):
        for value in ahead((partial(job, i) for i in range(100)), workers=2):
            seen.append(value)
    assert seen == [0, 1, 2, 3, 4]


def test_who_looks_away_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    results = ahead((partial(int, i) for i in range(100)), workers=2)
    assert next(results) == 0
    results.close()
    assert threading.active_count() == before
