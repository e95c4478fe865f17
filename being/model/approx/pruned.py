"""Pruned approximation: the full network for the Gaussians that move; hair, ears and shoulders keep their mean offset.

Costs the full network's time times the share that moves; what it loses is below `prune_below` at every Gaussian and
recorded frame.
"""

from __future__ import annotations

from being.model.approx.blocks import FULL_CHANNELS
from being.model.approx.fused import FusedNetwork
from being.model.approx.motion_stats import PRUNE_BELOW, MotionStats
from being.model.approx.movers import MoverDeformer
from being.model.gaussians import Gaussians
from being.model.network import DeformationNetwork


class PrunedDeformer(MoverDeformer):
    """A `Deformer` that evaluates the network for `moving` Gaussians; the others' mean is its baseline."""

    def __init__(
        self,
        network: DeformationNetwork,
        gaussians: Gaussians,
        stats: MotionStats,
        prune_below: float = PRUNE_BELOW,
        threads: int = 0,
    ) -> None:
        super().__init__(network, gaussians, stats, FusedNetwork(network), FULL_CHANNELS, prune_below, threads)
        self.baseline[self._movers] = 0
