"""What approximations share that evaluate a network for the Gaussians that move, and keep the others' mean offset."""

from __future__ import annotations

import torch

from being.model.approx.blocks import Floats, to_blocks
from being.model.approx.fused import FusedNetwork
from being.model.approx.motion_stats import MotionStats
from being.model.gaussians import Gaussians
from being.model.network import DeformationNetwork
from being.processors import usable_processors


class MoverDeformer:
    """A `Deformer` that runs `fused` for the `moving` Gaussians; its baseline, until changed, is the mean of all."""

    def __init__(
        self,
        network: DeformationNetwork,
        gaussians: Gaussians,
        stats: MotionStats,
        fused: FusedNetwork,
        channels: int,
        prune_below: float,
        threads: int,
    ) -> None:
        self.order, self.moving = stats.moving_first(prune_below)
        self.channels = channels
        self.baseline: Floats = stats.mean.copy()
        self._movers = self.order[: self.moving]
        self._network = fused
        self._features, self._gates = mover_inputs(network, gaussians, self._movers)
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
