"""Distilled approximation: one small shared head in place of five, a third of the arithmetic.

The attention layers stay exact; a 64-64-14 head learns the five heads' lean outputs over the recorded frames. Only
movement has to be learned: each Gaussian's mean is its baseline, so errors are compared after taking the mean over
frames off. Floor per Gaussian: 17.7k multiply-adds of attention and FFN + 5k of the head, against 66k.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from being.model.approx.blocks import LEAN_CHANNELS
from being.model.approx.fused import FusedNetwork
from being.model.approx.lean import to_lean_torch
from being.model.approx.motion_stats import (
    PRUNE_BELOW,
    STATS_FRAMES,
    MotionStats,
    influence,
    offsets_over,
    recorded_tokens,
)
from being.model.approx.movers import MoverDeformer
from being.model.gaussians import Gaussians
from being.model.network import OFFSET_SIZES, DeformationNetwork

HEAD_WIDTH = 64
STEPS = 400
FRAMES, ROWS = 16, 512  # of a training step: enough frames to take a mean over
LEARNING_RATE = 2e-3


@dataclass(frozen=True)
class DistilledHead:
    """ReLU, 64 -> 64, ReLU, 64 -> 14 lean channels."""

    first: nn.Linear
    second: nn.Linear

    def __call__(self, hidden: Tensor) -> Tensor:
        """(..., 64) after the last layer -> (..., 14)."""
        return self.second(self.inner(hidden))

    def inner(self, hidden: Tensor) -> Tensor:
        """(..., 64) -> (..., 64), what the last map reads."""
        return torch.relu(self.first(torch.relu(hidden)))

    @staticmethod
    def new(width: int) -> DistilledHead:
        """Untrained; its last map starts at zero, which is every Gaussian's mean."""
        head = DistilledHead(nn.Linear(width, HEAD_WIDTH), nn.Linear(HEAD_WIDTH, LEAN_CHANNELS))
        nn.init.zeros_(head.second.weight)
        nn.init.zeros_(head.second.bias)
        return head


def fit_distilled(
    network: DeformationNetwork,
    gaussians: Gaussians,
    stats: MotionStats,
    *,
    prune_below: float = PRUNE_BELOW,
    steps: int = STEPS,
    seed: int = 0,
) -> DistilledHead:
    """Distil a head on the network's own device; 400 steps take some 20 s on two idle cores."""
    device = network.null_token.device
    order, moving = stats.moving_first(prune_below)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = DistilledHead.new(network.config.width)
    head.first.to(device), head.second.to(device)
    if not moving:
        return head
    movers = torch.from_numpy(order[:moving]).to(gaussians.xyz.device)
    chosen = gaussians.select(movers).to(device)
    weight = torch.from_numpy(influence(gaussians, stats.mean)[order[:moving], :LEAN_CHANNELS]).to(device)
    colours = torch.from_numpy(stats.colours[order[:moving]]).to(device)
    tokens = network.recorded_tokens.to(device)
    with torch.no_grad():
        features = network.canonical_features(chosen.xyz)
    generator = torch.Generator().manual_seed(seed)

    def sample() -> tuple[Tensor, Tensor, Tensor]:
        """Hidden (F, R, 64) and true lean offsets (F, R, 14) of random frames and Gaussians, weights (R, 14)."""
        frames = torch.randint(len(tokens), (min(FRAMES, len(tokens)),), generator=generator).to(device)
        rows = torch.randint(moving, (ROWS,), generator=generator).to(device)
        with torch.no_grad():
            hidden = network.hidden(features[rows], tokens[frames], chosen.audio_gate[rows])
            exact = torch.cat([network.heads[name](hidden) for name in OFFSET_SIZES], dim=-1)
        return hidden, to_lean_torch(exact, colours[rows]), weight[rows]

    parameters = [*head.first.parameters(), *head.second.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=LEARNING_RATE, total_steps=max(steps, 2))
    for _ in range(steps):
        hidden, exact, by = sample()
        loss = (_centred(head(hidden) - exact) * by).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        _solve_last(head, [sample() for _ in range(32)])
    return head


def _centred(values: Tensor) -> Tensor:
    """Less the mean over frames: what is constant belongs to the baseline."""
    return values - values.mean(dim=0, keepdim=True)


def _solve_last(head: DistilledHead, samples: list[tuple[Tensor, Tensor, Tensor]]) -> None:
    """Set the last map to the weighted least squares of each channel; its bias is left to the baseline."""
    width = head.first.out_features
    gram = torch.zeros(LEAN_CHANNELS, width, width, dtype=torch.float64)
    target = torch.zeros(LEAN_CHANNELS, width, dtype=torch.float64)
    for hidden, exact, by in samples:
        inner = _centred(head.inner(hidden)).double().cpu()
        exact = _centred(exact).double().cpu()
        squared = by.double().cpu().square()
        gram += torch.einsum("fri,frj,rc->cij", inner, inner, squared)
        target += torch.einsum("fri,frc,rc->ci", inner, exact, squared)
    ridge = 1e-6 * gram.diagonal(dim1=1, dim2=2).mean(dim=1).clamp_min(1e-12)
    solution = torch.linalg.solve(gram + ridge[:, None, None] * torch.eye(width, dtype=torch.float64), target)
    head.second.weight.copy_(solution.to(head.second.weight))
    head.second.bias.zero_()


class DistilledDeformer(MoverDeformer):
    """A `Deformer` with a distilled head; what the head gets wrong on average is in its baseline."""

    def __init__(
        self,
        network: DeformationNetwork,
        gaussians: Gaussians,
        stats: MotionStats,
        head: DistilledHead,
        prune_below: float = PRUNE_BELOW,
        threads: int = 0,
    ) -> None:
        fused = FusedNetwork(network, [(head.first, head.second)])
        super().__init__(network, gaussians, stats, fused, LEAN_CHANNELS, prune_below, threads)
        if self.moving:
            tokens = recorded_tokens(network, STATS_FRAMES)
            mean = sum(offsets_over(self, tokens), np.zeros((len(self.order), LEAN_CHANNELS))) / len(tokens)
            self.baseline[self._movers, :LEAN_CHANNELS] -= mean[self._movers].astype(np.float32)
