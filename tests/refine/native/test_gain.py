"""The kernel of the gain: waves grow by what was asked, coarse ones and flat colours not at all."""

from __future__ import annotations

import math

import pytest
import torch
from support.native_refiner import trained

from being.refine.native.gain import FINE, MOST, added, kernel_of
from being.refine.native.network import RefineConfig, RefineNetwork

SIDE = 11


def waves(cycles: float) -> torch.Tensor:
    """(1, 1, 64, 64), waves of `cycles` a pixel from left to right."""
    return torch.sin(2 * math.pi * cycles * torch.arange(64.0)).expand(1, 1, 64, 64)


def response(kernel: torch.Tensor, cycles: float) -> float:
    wave = waves(cycles)
    out = (wave + added(wave, kernel))[..., 16:-16, 16:-16]
    return float(out.norm() / wave[..., 16:-16, 16:-16].norm())


def test_no_gain_is_no_change() -> None:
    assert kernel_of(torch.ones(32), SIDE).abs().max() < 1e-6


@pytest.mark.parametrize(("cycles", "gain"), [(0.01, 1.0), (0.25, 1.3), (0.375, 1.45), (0.45, 1.54)])
def test_waves_grow_by_the_gain_of_their_frequency(cycles: float, gain: float) -> None:
    gains = 1 + 1.2 * (torch.arange(32) + 0.5) / 64  # 1 + 1.2 times the cycles a pixel
    assert response(kernel_of(gains, SIDE), cycles) == pytest.approx(gain, abs=0.05)


def test_coarse_shapes_flat_colours_and_what_is_no_face_stay() -> None:
    kernel = kernel_of(torch.full((32,), 9.0), SIDE)
    assert abs(float(kernel.sum())) < 1e-5
    assert added(torch.full((1, 3, 16, 16), 0.7), kernel).abs().max() < 1e-5
    assert response(kernel, FINE / 6) == pytest.approx(1, abs=0.15)
    assert response(kernel, 0.3) == pytest.approx(MOST, abs=0.15)
    config = RefineConfig(width=0, gain=SIDE)
    network = RefineNetwork(config)
    network.load_state_dict({"gain": kernel})
    entering = torch.rand(1, 4, 16, 16)
    entering[:, 3] = torch.cat([torch.zeros(8), torch.ones(8)])
    change = network(entering)
    assert change[..., :8].abs().max() == 0 and change[..., 8:].abs().mean() > 0.1
    assert RefineConfig().gain == 0 and trained(config=config).state.keys() == {"gain"}


def test_a_kernel_has_a_centre() -> None:
    with pytest.raises(ValueError, match="odd"):
        RefineConfig(gain=4)
