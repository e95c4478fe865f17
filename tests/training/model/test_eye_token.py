"""How the eye's token starts, and what training leaves alone in it."""

from __future__ import annotations

import pytest
import torch

from being.model import DeformationNetwork, NetworkConfig
from being.model.attention import position_code
from being.model.network import EYE_CODE
from being.training.model.eye_token import DEAD, SWING, is_dead, keep_smooth, start_eye_token, swing


def token(network: DeformationNetwork, closure: float) -> torch.Tensor:
    return network.eye_token(position_code(torch.tensor([[closure]]), EYE_CODE))[0]


@pytest.fixture
def network() -> DeformationNetwork:
    torch.manual_seed(0)
    return DeformationNetwork(NetworkConfig(audio_width=4))


def test_open_eyes_say_nothing_and_shut_ones_are_heard(network: DeformationNetwork) -> None:
    assert is_dead(network) and float(token(network, 0.0).norm()) > 0  # as published
    start_eye_token(network)
    assert not token(network, 0.0).any()
    assert swing(network) == pytest.approx(SWING, rel=1e-4) and SWING > DEAD and not is_dead(network)


def test_near_closures_have_near_tokens(network: DeformationNetwork) -> None:
    start_eye_token(network)
    steps = [float((token(network, c + 0.01) - token(network, c)).norm()) for c in torch.linspace(0, 0.99, 30).tolist()]
    assert max(steps) < 0.06 * SWING


def test_what_is_left_out_stays_so(network: DeformationNetwork) -> None:
    start_eye_token(network)
    keep_smooth(network)
    weight = network.eye_token.into.weight
    before, left_out = weight.detach().clone(), ~weight.detach().any(0)
    assert int(left_out.sum()) == EYE_CODE - 3
    optimizer = torch.optim.Adam([weight], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        token(network, 0.7).square().sum().backward()
        optimizer.step()
    assert not weight[:, left_out].any() and not torch.equal(weight, before)


def test_a_donor_with_all_waves_goes_on_with_them(network: DeformationNetwork) -> None:
    keep_smooth(network)
    network.eye_token(position_code(torch.tensor([[0.7]]), EYE_CODE)).square().sum().backward()
    gradient = network.eye_token.into.weight.grad
    assert gradient is not None and gradient[:, 20:].any()
