"""Admission by measured cost: plain numbers."""

from __future__ import annotations

import pytest

from being.server.admission import Admission, Load, ProcessTime, shard_of

SMALL, LARGE = Load("a", 256, 256), Load("a", 512, 512)


def measured(cost_s: float, load: Load = LARGE, **options: float) -> Admission:
    admission = Admission(**options)  # type: ignore[arg-type]
    for _ in range(50):
        admission.observe({load: 2}, 2 * cost_s)
    return admission


def test_first_session_is_the_measurement() -> None:
    assert Admission().admits({}, LARGE)
    assert Admission().cost(LARGE) is None


def test_admits_while_the_frames_fit_the_clock() -> None:
    admission = measured(0.010, budget=0.8)  # 32 ms of 40 may be planned: three sessions
    assert admission.admits({LARGE: 2}, LARGE)
    assert not admission.admits({LARGE: 3}, LARGE)
    assert admission.room({LARGE: 1}, LARGE, 10) == 2


def test_unknown_sizes_are_guessed_by_pixels_and_never_cheaper() -> None:
    admission = measured(0.010, SMALL)
    assert admission.cost(LARGE) == 0.020
    assert measured(0.010, LARGE).cost(SMALL) == 0.010


def test_cost_follows_the_measurement() -> None:
    admission = measured(0.010)
    for _ in range(200):
        admission.observe({LARGE: 1}, 0.020)
    assert abs((admission.cost(LARGE) or 0) - 0.020) < 1e-4


def test_first_frames_do_not_count() -> None:
    admission = Admission()
    admission.observe({LARGE: 1}, 5.0)  # loading
    for _ in range(10):
        admission.observe({LARGE: 1}, 0.010)
    assert (admission.cost(LARGE) or 0) < 0.011


def test_shards_are_counted_apart() -> None:
    names = [f"avatar{number}" for number in range(40)]
    here = [name for name in names if shard_of(name, 2) == 0]
    there = next(name for name in names if shard_of(name, 2) == 1)
    admission = Admission(budget=0.8, shards=2)
    for _ in range(20):
        admission.observe({Load(here[0], 512, 512): 1}, 0.030)
    busy = {Load(here[0], 512, 512): 1}
    assert not admission.admits(busy, Load(here[1], 512, 512))
    assert admission.admits(busy, Load(there, 512, 512))


def test_a_process_is_full_at_one_core() -> None:
    """Nine milliseconds of the process for each frame: four sessions are 0.9 of a core, a fifth does not fit."""
    clock = [0.0]
    admission = Admission(process=ProcessTime(lambda: clock[0], lambda: 0.9 * clock[0]))
    assert admission.admits({}, LARGE) and admission.admits({LARGE: 4}, LARGE), "nothing was measured yet"
    for _ in range(100):
        clock[0] += 0.04
        admission.observe({LARGE: 4}, 0.001)
    assert admission.process is not None and admission.process.frame_s == pytest.approx(0.009, rel=0.01)
    assert admission.admits({LARGE: 3}, LARGE) and not admission.admits({LARGE: 4}, LARGE)
    assert admission.admits({}, LARGE), "the first session is the measurement"
    assert admission.room({LARGE: 1}, LARGE, 64) == 3
    clock[0] += 60  # nobody was here for a minute
    admission.observe({LARGE: 1}, 0.001)
    assert admission.process.frame_s == pytest.approx(0.009, rel=0.01)
