"""Pruned approximation: the full network for the Gaussians that move; hair, ears and shoulders keep their mean offset.

Costs the full network's time times the share that moves; what it loses is below `prune_below` at every Gaussian and
recorded frame.
"""

from __future__ import annotations

import torch

from being.model.approx.blocks import FULL_CHANNELS, Floats, to_blocks
from being.model.approx.fused import FusedNetwork
from being.model.approx.motion_stats import PRUNE_BELOW, MotionStats
from being.model.gaussians import Gaussians
from being.model.network import DeformationNetwork
from being.processors import usable_processors


class PrunedDeformer:
    """A `Deformer` that evaluates the network for `moving` Gaussians; the others' mean is its baseline."""

    def __init__(
        self,
        network: DeformationNetwork,
        gaussians: Gaussians,
        stats: MotionStats,
        prune_below: float = PRUNE_BELOW,
        threads: int = 0,
    ) -> None:
        self.order, self.moving = stats.moving_first(prune_below)
        self.channels = FULL_CHANNELS
        self.baseline: Floats = stats.mean.copy()
        self.baseline[self.order[: self.moving]] = 0
        self._network = FusedNetwork(network)
        self._features, self._gates = mover_inputs(network, gaussians, self.order[: self.moving])
        self.threads = threads or usable_processors()

    def __call__(self, tokens: Floats, out: Floats) -> Floats:
        """See `Deformer`."""
        if self.moving:
            self._network.run(tokens, self._features, self._gates, out, self.threads)
        return out


def mover_inputs(network: DeformationNetwork, gaussians: Gaussians, index: object) -> tuple[Floats, Floats]:
    """Features (blocks, width, 64) and gates (blocks, 64) of the Gaussians chosen by `index`."""
    chosen = torch.as_tensor(index, device=gaussians.xyz.device)
    with torch.inference_mode():
        features = network.canonical_features(gaussians.xyz[chosen].to(network.null_token.device))
    gates = gaussians.audio_gate[chosen].detach().cpu().numpy()
    return to_blocks(features.float().cpu().numpy()), to_blocks(gates[:, None])[:, 0]
