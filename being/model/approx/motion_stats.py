"""How much each Gaussian moves over the recorded frames, measured in what the picture would notice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from being.errors import InputError
from being.model.approx.blocks import FULL_CHANNELS, Floats, Indices, attribute_rows, from_blocks
from being.model.approx.deformer import Deformer, offset_buffer
from being.model.approx.fused import FusedDeformer
from being.model.approx.kernels import LANES
from being.model.approx.lean import colours_seen, to_lean
from being.model.gaussians import SH_DC, Gaussians
from being.model.network import DeformationNetwork

STATS_FRAMES = 96  # recorded frames looked at: 20k Gaussians take 2-4 s
CONTRAST = 0.25  # colour step across a Gaussian's edge, of 1: typical of skin beside lips, brows, hair
PRUNE_BELOW = 2 / 255  # a Gaussian that never changes its own colour by more than this is pruned


@dataclass(frozen=True)
class MotionStats:
    """What the network did to N Gaussians over the recorded frames.

    Attributes
    ----------
    mean : (N, 59) mean offsets.
    peak : (N,) the largest change from the mean, as a change of colour (of 1) at the Gaussian's own place.
    colours : (N, 15) see `lean.colours_seen`.
    """

    mean: Floats
    peak: Floats
    colours: Floats

    def select(self, index: Indices) -> MotionStats:
        """Those of the Gaussians `index`."""
        return MotionStats(self.mean[index], self.peak[index], self.colours[index])

    def movement(self, offsets: Floats) -> Floats:
        """Lean offsets less their mean (N, 14) of offsets (N, 59)."""
        return to_lean(offsets - self.mean, self.colours)

    def moving_first(self, prune_below: float = PRUNE_BELOW) -> tuple[Indices, int]:
        """Gaussians by falling movement, and how many of them move.

        The number is rounded up to whole blocks of 64: computing the least of the movers too is free.
        """
        order = np.argsort(-self.peak, kind="stable")
        moving = int((self.peak > prune_below).sum())
        return order, min(len(order), -(-moving // LANES) * LANES)


def measure_motion(
    network: DeformationNetwork, gaussians: Gaussians, frames: int = STATS_FRAMES, viewpoint: Floats | None = None
) -> MotionStats:
    """Run the full network over up to `frames` of its recorded tokens; viewpoint: see `lean.usual_viewpoint`.

    Raises
    ------
    InputError
        A network without recorded tokens.
    """
    deformer = full_deformer(network, gaussians)
    total = np.zeros((gaussians.count, FULL_CHANNELS), np.float64)
    low = np.full(total.shape, np.inf, np.float32)
    high = np.full(total.shape, -np.inf, np.float32)
    tokens = recorded_tokens(network, frames)
    for offsets in offsets_over(deformer, tokens):
        total += offsets
        np.minimum(low, offsets, out=low)
        np.maximum(high, offsets, out=high)
    mean = (total / len(tokens)).astype(np.float32)
    swing = np.maximum(high - mean, mean - low) * influence(gaussians, mean)
    return MotionStats(mean, np.sqrt(np.einsum("nc,nc->n", swing, swing)), colours_seen(gaussians, viewpoint))


def influence(gaussians: Gaussians, mean: Floats) -> Floats:
    """(N, 59): how much a Gaussian's colour changes at its place per unit of each offset, to first order.

    Moving by its own size, growing by e, or turning while long changes a splat by its contrast with what is around it;
    a change of opacity by the share of it that is not saturated; colour directly.
    """
    rows = attribute_rows(gaussians) + mean
    opacity = 1 / (1 + np.exp(-np.clip(rows[:, 10], -30, 30)))
    scales = np.sort(np.exp(np.clip(rows[:, 3:6], -20, 20)), axis=1)
    weights = np.empty_like(rows)
    weights[:, 0:3] = (CONTRAST * opacity / np.maximum(scales[:, 1], 1e-4))[:, None]
    weights[:, 3:6] = (CONTRAST * opacity)[:, None]
    length = np.maximum(np.linalg.norm(rows[:, 6:10], axis=1), 1e-6)
    weights[:, 6:10] = (2 * CONTRAST * opacity * (1 - scales[:, 0] / scales[:, 2]) / length)[:, None]
    weights[:, 10] = CONTRAST * (1 - opacity) * opacity
    weights[:, 11:] = (SH_DC * opacity)[:, None]
    return weights


def full_deformer(network: DeformationNetwork, gaussians: Gaussians, threads: int = 0) -> FusedDeformer:
    """The exact form for these Gaussians."""
    with torch.inference_mode():
        features = network.canonical_features(gaussians.xyz.to(network.null_token.device)).float().cpu().numpy()
    return FusedDeformer(network, features, gaussians.audio_gate.detach().cpu().numpy(), threads)


def recorded_tokens(network: DeformationNetwork, most: int) -> Floats:
    """(S, T, width), S <= most, evenly spaced over what the network recorded."""
    recorded = network.recorded_tokens.detach().float().cpu().numpy()
    if not len(recorded):
        raise InputError(
            "the network recorded no frames", "Use its full form, or store tokens with network.record(...)"
        )
    return recorded[np.linspace(0, len(recorded) - 1, min(most, len(recorded))).round().astype(int)]


def offsets_over(deformer: Deformer, tokens: Floats) -> Iterator[Floats]:
    """(N, channels) offsets in the Gaussians' own order for each frame's tokens; without the baseline."""
    out = offset_buffer(deformer)
    back = np.argsort(deformer.order)
    for frame in tokens:
        yield from_blocks(deformer(frame, out), len(back))[back]
