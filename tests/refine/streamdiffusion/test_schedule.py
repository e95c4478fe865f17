"""Timesteps by strength, and the noise at them."""

from __future__ import annotations

import numpy as np
import pytest

from being.errors import FormatError
from being.refine.streamdiffusion.schedule import signal_shares, timestep_of

CONFIG = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


@pytest.mark.parametrize(
    ("strength", "timestep"), [(0.01, 249), (0.25, 249), (0.26, 499), (0.5, 499), (0.75, 749), (0.76, 999), (1.0, 999)]
)
def test_strength_climbs_the_timesteps(strength: float, timestep: int) -> None:
    assert timestep_of(strength, (249, 499, 749, 999)) == timestep


def test_a_single_timestep_serves_every_strength() -> None:
    assert {timestep_of(strength, (249,)) for strength in (1e-6, 0.3, 1.0)} == {249}


def test_a_third_in_single_precision_is_still_the_first_of_three() -> None:
    assert timestep_of(float(np.float32(1 / 3)), (99, 199, 299)) == 99


@pytest.mark.parametrize("kind", ["scaled_linear", "linear"])
def test_signal_is_as_diffusers_schedules_it(kind: str) -> None:
    diffusers = pytest.importorskip("diffusers", reason="needs being[refine]")
    expected = diffusers.EulerDiscreteScheduler(beta_schedule=kind, beta_start=0.00085, beta_end=0.012).alphas_cumprod
    np.testing.assert_allclose(signal_shares({**CONFIG, "beta_schedule": kind}), expected, rtol=2e-5)


@pytest.mark.parametrize(
    "change", [{"beta_schedule": "squaredcos_cap_v2"}, {"num_train_timesteps": 100}, {"beta_end": None}]
)
def test_another_schedule_is_refused_with_a_remedy(change: dict[str, object]) -> None:
    with pytest.raises(FormatError, match=r"scheduler_config\.json.*SD-turbo"):
        signal_shares({**CONFIG, **change})
