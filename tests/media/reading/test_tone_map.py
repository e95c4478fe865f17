"""HDR as a standard display shows it: the standards' numbers, and what must not change."""

from __future__ import annotations

import numpy as np
import pytest

from being.media.reading.tone_map import WHITE, Coding, compress, hlg_to_light, light_to_pq, pq_to_light, to_bt709


def test_the_curves_are_those_of_the_standards() -> None:
    # BT.2408 table 1: 203 cd/m2 is 58% PQ and 75% HLG; 100 cd/m2 is 50.8% PQ.
    assert light_to_pq(np.array([100.0, 203.0, 1000.0, 10_000.0])) == pytest.approx(
        [0.508, 0.581, 0.752, 1.0], abs=1e-3
    )
    assert hlg_to_light(np.full(3, 0.75)) == pytest.approx(203, abs=2)
    assert hlg_to_light(np.full(3, 1.0)) == pytest.approx(1000, abs=1)
    light = np.geomspace(0.01, 9000, 50)
    assert pq_to_light(light_to_pq(light)) == pytest.approx(light, rel=1e-6)


def test_dark_and_middle_stay_and_highlights_roll_off() -> None:
    light = np.linspace(0, 1000, 2001)
    out = compress(light)
    assert np.abs(out - light)[light < 90].max() < 0.1
    assert (np.diff(out) > -1e-9).all() and out[-1] == pytest.approx(WHITE, rel=1e-3)


@pytest.mark.parametrize("coding", list(Coding))
def test_greys_stay_grey_and_everything_stays_inside(coding: Coding) -> None:
    random = np.random.default_rng(0)
    out = to_bt709(random.uniform(0, 1, (5000, 3)), coding)
    assert np.isfinite(out).all() and out.min() >= 0 and out.max() <= 1
    grey = to_bt709(np.repeat(np.linspace(0, 1, 50)[:, None], 3, 1), coding)
    assert np.abs(grey - grey[:, :1]).max() < 1e-3 and (np.diff(grey[:, 0]) > -1e-6).all()


def test_standard_colours_in_a_wide_container_come_back() -> None:
    to_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])  # BT.2087
    colours = np.random.default_rng(1).uniform(0, 1, (500, 3))
    wide = (colours**2.4 @ to_2020.T) ** (1 / 2.4)
    assert to_bt709(wide, Coding.WIDE) == pytest.approx(colours, abs=0.01)
