"""What frames cost, learnt from passes: plain numbers."""

from __future__ import annotations

import pytest

from being.server.admission import (
    MOST_LOADS,
    OUTDATED_S,
    RECENT_S,
    SLOW_START,
    USUAL_FRAME_S,
    Admission,
    Load,
    ProcessTime,
)

SMALL, LARGE = Load("a", 256, 256), Load("a", 512, 512)


def measured(cost_s: float, load: Load = LARGE, **options: float) -> Admission:
    admission = Admission(**options)  # type: ignore[arg-type]
    for _ in range(50):
        admission.observe({load: 2}, 2 * cost_s)
    return admission


def test_nothing_is_known_before_something_was_drawn() -> None:
    assert Admission().cost(LARGE) is None and Admission().own_cost == 0
    assert Admission(process=ProcessTime()).own_cost == USUAL_FRAME_S


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


def test_what_was_measured_long_ago_gives_way_to_what_is_measured_now() -> None:
    """A worker that was busy when its last client left says nothing of it for ever, nor for good."""
    clock = [0.0]
    admission = Admission(now=lambda: clock[0])
    for _ in range(10):
        admission.observe({LARGE: 1}, 0.200)
    assert admission.costs() == {LARGE: pytest.approx(0.2)}
    clock[0] += RECENT_S
    assert admission.costs() == {}
    clock[0] += OUTDATED_S
    assert admission.cost(LARGE) == pytest.approx(0.2), "nothing else is known"
    admission.learn({SMALL: 0.010})
    assert admission.cost(LARGE) == pytest.approx(0.020)


def test_a_frame_that_loads_its_avatar_again_counts_little() -> None:
    admission = measured(0.010)
    admission.observe({LARGE: 1}, 5.0)
    assert (admission.cost(LARGE) or 0) < 0.012


def test_clients_that_ask_for_every_size_fill_no_memory() -> None:
    admission = Admission()
    for side in range(100, 100 + 2 * MOST_LOADS):
        for _ in range(SLOW_START + 1):
            admission.observe({Load("a", side, side): 1}, 0.010)
    assert len(admission.costs()) == MOST_LOADS


def test_a_process_counts_its_own_time() -> None:
    clock = [0.0]
    admission = Admission(process=ProcessTime(lambda: clock[0], lambda: 0.9 * clock[0]))
    for _ in range(100):
        clock[0] += 0.04
        admission.observe({LARGE: 4}, 0.001)
    assert admission.own_cost == pytest.approx(0.009, rel=0.01)
    for _ in range(3):  # the renderer is away, a frame comes now and then
        clock[0] += 1.2
        admission.observe({LARGE: 2}, 0.001)
    assert admission.own_cost == pytest.approx(0.009, rel=0.01)
    clock[0] += 60  # nobody was here for a minute
    admission.observe({LARGE: 1}, 0.001)
    assert admission.own_cost == pytest.approx(0.009, rel=0.01)
