from __future__ import annotations

import math

import pytest
import torch

from being.model.gaussians import Gaussians
from being.training.config import DensifyConfig, LearningRates
from being.training.model.densify import Densify, ScreenGradients
from being.training.model.parameters import GaussianParameters

COUNT = 50


def parameters(scale: float = 0.01, opacity: float = 0.8) -> GaussianParameters:
    generator = torch.Generator().manual_seed(0)
    gaussians = Gaussians(
        xyz=torch.randn(COUNT, 3, generator=generator),
        log_scales=torch.full((COUNT, 3), math.log(scale)),
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(COUNT, 1),
        opacity_logits=torch.full((COUNT,), math.log(opacity / (1 - opacity))),
        sh=torch.randn(COUNT, 16, 3, generator=generator),
        head_weight=torch.linspace(0, 1, COUNT),
        audio_gate=torch.linspace(0, 1, COUNT),
    )
    return GaussianParameters(gaussians, LearningRates())


def trained(p: GaussianParameters) -> GaussianParameters:
    """One step, so that Adam has moments; row i of xyz gets the gradient i."""
    (p.gaussians().xyz * torch.arange(COUNT)[:, None]).sum().backward()
    for value in p.values.values():
        if value.grad is None:
            value.grad = torch.ones_like(value)
    p.step(1e-3)
    return p


def gradients(*hot: int) -> ScreenGradients:
    total = torch.zeros(COUNT)
    total[list(hot)] = 1
    return ScreenGradients(total, torch.ones(COUNT))


def test_small_ones_are_cloned_and_keep_their_moments() -> None:
    p = trained(parameters())
    moments = p.optimizer.state[p.values["xyz"]]["exp_avg"].clone()
    policy = Densify(DensifyConfig(rounds=1), COUNT, COUNT + 2)
    change = policy.apply(p, gradients(7, 9), 1, torch.Generator().manual_seed(0))
    assert (change.cloned, change.split, change.pruned) == (2, 0, 0)
    assert p.count == COUNT + 2 == len(p.audio_gate)
    after = p.optimizer.state[p.values["xyz"]]["exp_avg"]
    assert torch.equal(after[:COUNT], moments) and not after[COUNT:].any()
    assert torch.equal(p.audio_gate[COUNT:], p.audio_gate[[7, 9]])
    assert torch.equal(p.values["head_weight"][COUNT:], p.values["head_weight"][[7, 9]])
    opacity = p.values["opacity_logits"].sigmoid()
    # Drawn on top of each other, the pair hides as much as the one did.
    assert float(1 - (1 - opacity[7]) * (1 - opacity[COUNT])) == pytest.approx(0.8, abs=0.01)
    p.gaussians().sh.sum().backward()
    p.step(1.0)  # the optimizer goes on with the new rows


def test_large_ones_are_split_in_place() -> None:
    p = parameters(scale=0.1)
    before = p.values["xyz"].detach().clone()
    policy = Densify(DensifyConfig(rounds=1), COUNT, COUNT + 1)
    change = policy.apply(p, gradients(3), 1, torch.Generator().manual_seed(0))
    assert change.split == 1 and p.count == COUNT + 1
    assert torch.equal(p.values["xyz"][:3], before[:3]) and torch.equal(p.values["xyz"][3 : COUNT - 1], before[4:])
    halves = p.values["xyz"][-2:] - before[3]
    assert 0 < float(halves.norm(dim=1).max()) < 0.5
    assert p.values["log_scales"][-1].exp().tolist() == pytest.approx([0.1 / 1.6] * 3, rel=1e-4)


def test_faint_and_oversized_ones_go() -> None:
    p = parameters()
    with torch.no_grad():
        p.values["opacity_logits"][:5] = -10
        p.values["log_scales"][5] = math.log(5.0)
    policy = Densify(DensifyConfig(rounds=1), COUNT, COUNT)
    change = policy.apply(p, gradients(), 1, torch.Generator())
    assert change.pruned == 6 and p.count == COUNT - 6


def test_budget_is_kept_every_round() -> None:
    p = parameters()
    config = DensifyConfig(rounds=5, start=0.1, stop=0.5)
    policy = Densify(config, COUNT, COUNT + 20)
    counts = []
    for number in range(1, 6):
        everywhere = ScreenGradients(torch.rand(p.count), torch.ones(p.count))
        policy.apply(p, everywhere, number, torch.Generator().manual_seed(number))
        counts.append(p.count)
    assert counts == [COUNT + 4 * n for n in range(1, 6)]


def test_rounds_are_due_between_start_and_stop() -> None:
    policy = Densify(DensifyConfig(rounds=5, start=0.1, stop=0.5), 1, 2)
    assert [policy.rounds_due(f) for f in (0, 0.09, 0.1, 0.2, 0.3, 0.5, 1.0)] == [0, 0, 1, 2, 3, 5, 5]
    assert Densify(DensifyConfig(rounds=0), 1, 2).rounds_due(0.9) == 0


def test_gradient_is_the_mean_over_frames_that_show_it() -> None:
    stats = ScreenGradients.zeros(2, "cpu")
    probe = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
    stats.add(ScreenGradients.of(probe, torch.tensor([2.0, 1.0, 2.0, 0.0]), frames=2))
    assert stats.mean().tolist() == [3.0, 1.0]
