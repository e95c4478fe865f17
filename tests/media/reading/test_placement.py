"""Stamps of decoded sound: holes and overlaps are believed, trembling and stray stamps are not."""

from __future__ import annotations

import numpy as np
import pytest

from being.media.reading.placement import TOLERANCE_S, lowest_ahead, place_frames

COUNT, FRAME_S = 500, 1024 / 48_000
SECONDS = np.full(COUNT, FRAME_S)
STEADY = np.arange(COUNT) * FRAME_S


def heard_at(stamps: np.ndarray) -> np.ndarray:
    """When each frame is heard."""
    placement = place_frames(stamps, SECONDS)
    times = placement.begins_s + STEADY
    for shift in placement.shifts:
        times[shift.frame :] += shift.seconds
    return times


def test_a_steady_clock_moves_nothing() -> None:
    assert place_frames(STEADY + 3.0, SECONDS).shifts == ()
    assert place_frames(STEADY + 3.0, SECONDS).begins_s == pytest.approx(3.0)
    assert place_frames(np.full(COUNT, np.nan), SECONDS).shifts == ()


@pytest.mark.parametrize("step", [1.0, 0.05, -0.05, -1.0])
@pytest.mark.parametrize("at", [3, 40, 480])
def test_a_step_is_believed_where_it_happens(step: float, at: int) -> None:
    stamps = STEADY.copy()
    stamps[at:] += step
    if step > 0 or at > 30:
        np.testing.assert_allclose(heard_at(stamps), stamps, atol=1e-9)
    else:  # so near to the beginning it is the beginning that was stamped too late
        np.testing.assert_allclose(heard_at(stamps)[at:], stamps[at:], atol=1e-9)


def test_single_stray_stamps_are_not_believed() -> None:
    stamps = STEADY.copy()
    stamps[[0, 200, 300, -1]] += [-7.0, 1.0, -5.0, 100.0]
    np.testing.assert_allclose(heard_at(stamps), STEADY, atol=1e-9)


def test_trembling_stamps_are_not_followed() -> None:
    stamps = STEADY + np.random.default_rng(0).uniform(-0.04, 0.04, COUNT)
    assert place_frames(stamps, SECONDS).shifts == ()


@pytest.mark.parametrize("rate", [0.99, 1.002, 1.01])
def test_a_clock_that_drifts_is_followed_within_the_tolerance(rate: float) -> None:
    heard = heard_at(STEADY * rate)
    slack = abs(rate - 1) * 0.3  # the stamps that must agree lie ahead
    assert np.abs(heard - STEADY * rate)[:-12].max() <= TOLERANCE_S + slack + 1e-6


def test_a_clock_that_stands_tells_nothing() -> None:
    assert place_frames(np.zeros(COUNT), SECONDS).shifts == ()


def test_of_frames_without_stamps_half_go_with_each_side_of_a_hole() -> None:
    stamps = STEADY.copy()
    stamps[200:204] = np.nan
    stamps[204:] += 0.5
    (shift,) = place_frames(stamps, SECONDS).shifts
    assert shift.frame == 202 and shift.seconds == pytest.approx(0.5)


@pytest.mark.parametrize("count", [1, 7, 12, 13, 500])
@pytest.mark.parametrize("window", [2, 12, 64])
def test_the_least_ahead_is_that_of_every_window(count: int, window: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    expected = [values[at : at + window].min() for at in range(count)]
    np.testing.assert_array_equal(lowest_ahead(values, window), expected)
