"""PCA approximation of the network: mean + 32 modes, their weights found from the exact offsets of a few Gaussians.

The modes are the principal components of the recorded offsets, weighed by what the picture notices. For a new frame the
exact network is evaluated on some hundred probe Gaussians only, and the modes' weights are estimated from these (the
"gappy POD" of Everson and Sirovich, 1995, https://doi.org/10.1364/JOSAA.12.001657): conditions never recorded
still go through the real network, and only what lies outside the span of the modes is lost. A probe counts by how well
the modes tell its offsets, a mode by how strong it was in the recorded frames: the posterior mean of a linear Gaussian
model (Bishop, "Pattern Recognition and Machine Learning", 2006, equation 2.117). Plain least squares takes what no mode
explains for movement of all the face: it lost eight times as many dB of an avatar that blinks.

Floor per Gaussian: 32 x 14 multiply-adds on 0.9 KB of modes (float16): bound by memory, 18 MB a frame at 20k Gaussians.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from being.model.approx import thread_split
from being.model.approx.blocks import LEAN_CHANNELS, Floats, Indices, from_blocks, to_blocks
from being.model.approx.fused import FusedNetwork
from being.model.approx.kernels import EXACT, LANES, VECTOR
from being.model.approx.motion_stats import (
    PRUNE_BELOW,
    MotionStats,
    full_deformer,
    influence,
    offsets_over,
    recorded_tokens,
)
from being.model.approx.movers import mover_inputs
from being.model.gaussians import Gaussians
from being.model.network import DeformationNetwork
from being.processors import usable_processors
from being.raster.cpu.jit import fetch_add, kernel
from being.raster.cpu.simd import broadcast, fill, fma, load_half, store

MODES = 32
PROBES = 256
FIT_FRAMES = 256  # recorded frames: their offsets are held at once, 14 KB a Gaussian
LEAST_NOISE = 1e-3  # of the probes' mean unexplained variance, the least of any
_ROW = LEAN_CHANNELS * LANES
_LINE = 2 * VECTOR  # entries of one mode that lie together
_RAISE = 2.0**14  # a mode's largest entry is 1, float16 ends at 65504


@dataclass(frozen=True)
class PcaBasis:
    """Principal components fitted to one network and its Gaussians.

    Attributes
    ----------
    modes : (K, M, 14) float16, movement of the M moving Gaussians (first M by falling movement), each mode scaled to
        a largest entry of 1.
    probes : (P,) Gaussians whose exact offsets are evaluated.
    solve : (K, P * 14) what turns their offsets, less the mean, into the modes' weights.
    """

    modes: npt.NDArray[np.float16]
    probes: Indices
    solve: Floats


def fit_pca(
    network: DeformationNetwork,
    gaussians: Gaussians,
    stats: MotionStats,
    *,
    prune_below: float = PRUNE_BELOW,
    modes: int = MODES,
    probes: int = PROBES,
    seed: int = 0,
) -> PcaBasis:
    """Principal components of the offsets over the recorded frames; some seconds per 10k Gaussians."""
    order, moving = stats.moving_first(prune_below)
    movers = order[:moving]
    tokens = recorded_tokens(network, FIT_FRAMES)
    theirs = stats.select(movers)
    moved = np.stack([theirs.movement(o[movers]) for o in offsets_over(full_deformer(network, gaussians), tokens)])
    weight = _importance(gaussians, stats)[movers]
    flat = (moved * weight).reshape(len(tokens), -1)
    # Eigenvectors in time (S x S) give the components in space without a decomposition of the large matrix.
    variance, in_time = np.linalg.eigh((flat @ flat.T).astype(np.float64))
    kept = min(modes, int((variance > max(variance[-1] * 1e-10, 1e-20)).sum()))
    if not kept:
        return PcaBasis(np.zeros((0, moving, LEAN_CHANNELS), np.float16), order[:0], np.zeros((0, 0), np.float32))
    in_time = in_time[:, : -kept - 1 : -1].astype(np.float32)
    fields = np.einsum("sk,snc->knc", in_time, moved)
    largest = np.abs(fields).max(axis=(1, 2))
    half = (fields / largest[:, None, None]).astype(np.float16)

    seen = half.astype(np.float32) * weight
    picked = _telling(seen, min(probes, moving), seed)
    at_probes = seen[:, picked].reshape(kept, -1)
    told = (moved[:, picked] * weight[picked]).reshape(len(tokens), -1)
    solve = mode_weights(at_probes, in_time * largest, told) * weight[picked].reshape(-1)
    return PcaBasis(half, movers[picked], solve.astype(np.float32))


def mode_weights(
    modes: npt.NDArray[Any], weights: npt.NDArray[Any], recorded: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """(K, C): what turns C channels of the probes into the modes' weights; see the module.

    modes : (K, C) at the probes. weights : (S, K) of the recorded frames. recorded : (S, C) the probes in them.
    """
    unexplained = np.square(recorded - weights @ modes, dtype=np.float64).mean(axis=0)
    strength = np.square(weights, dtype=np.float64).mean(axis=0)
    # Of modes that tell all there is, rounding in float16 is what remains.
    noise = unexplained + LEAST_NOISE * unexplained.mean() + 1e-12 * np.square(recorded, dtype=np.float64).mean()
    by_noise = modes.astype(np.float64) / noise
    return np.linalg.solve(by_noise @ modes.T.astype(np.float64) + np.diag(1 / strength), by_noise)


def _telling(modes: Floats, count: int, seed: int) -> Indices:
    """Rows of (K, M, 14) that say most about the modes: drawn by leverage score, without repetition."""
    orthonormal, _ = np.linalg.qr(modes.reshape(len(modes), -1).T)
    leverage = (orthonormal**2).reshape(modes.shape[1], -1).sum(axis=1) + 1e-9
    return np.random.default_rng(seed).choice(len(leverage), count, replace=False, p=leverage / leverage.sum())


class PcaDeformer:
    """A `Deformer` that adds up modes; the mean is its baseline."""

    def __init__(
        self,
        network: DeformationNetwork,
        gaussians: Gaussians,
        stats: MotionStats,
        basis: PcaBasis,
        prune_below: float = PRUNE_BELOW,
        threads: int = 0,
    ) -> None:
        self.order, self.moving = stats.moving_first(prune_below)
        self.channels = LEAN_CHANNELS
        self.baseline: Floats = stats.mean
        self._network = FusedNetwork(network)
        self._features, self._gates = mover_inputs(network, gaussians, basis.probes)
        self._probes = stats.select(basis.probes)
        self._solve = basis.solve / _RAISE
        self._modes = _laid_out(basis.modes) if len(basis.modes) else None
        self.threads = threads or usable_processors()

    def weights(self, tokens: Floats) -> Floats:
        """(K,) how strong each mode is in the frame, for modes as `_laid_out` has them."""
        exact = np.empty((len(self._features), self._network.channels, LANES), np.float32)
        self._network.run(tokens, self._features, self._gates, exact, 1)
        return self._solve @ self._probes.movement(from_blocks(exact, len(self._probes.mean))).reshape(-1)

    def __call__(self, tokens: Floats, out: Floats) -> Floats:
        """See `Deformer`."""
        if self._modes is None:
            return out
        weights = self.weights(tokens)
        blocks = self.moving // LANES + (self.moving % LANES > 0)
        flat = out.reshape(-1)

        def work(queue: npt.NDArray[np.int64]) -> Any:
            return _add_modes(queue, blocks, self._modes, weights, flat)

        thread_split.run(work, min(self.threads, blocks))
        return out


def _importance(gaussians: Gaussians, stats: MotionStats) -> Floats:
    """(N, 14) `influence`, times the side of the splat: an error is seen as often as it covers pixels."""
    scales = np.sort(np.exp(np.clip(gaussians.log_scales.detach().cpu().numpy(), -20, 20)), axis=1)
    side = np.sqrt(scales[:, 1] * scales[:, 2])
    weights = influence(gaussians, stats.mean)[:, :LEAN_CHANNELS] * side[:, None]
    return weights / max(float(np.median(weights)), 1e-12) + np.float32(1e-3)


def _laid_out(modes: npt.NDArray[np.float16]) -> npt.NDArray[np.uint16]:
    """(K, M, 14) as `_add_modes` reads them, bits of float16 in one line, times _RAISE.

    A fifth of a mode's entries are under 6e-5, where float16 is subnormal, and processors take several times as long to
    convert such a number (measured on an EPYC: 1.3 ms a frame of 19k Gaussians, 0.6 ms raised, 0.35 ms in this order).
    """
    blocks = np.stack([to_blocks(mode.astype(np.float32) * np.float32(_RAISE)) for mode in modes], axis=1)
    lines = blocks.reshape(len(blocks), len(modes), _ROW // _LINE, _LINE).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(lines, np.float16).view(np.uint16).reshape(-1)


@kernel(EXACT, allocates=False)
def _add_modes(queue, blocks, modes, weights, out):  # type: ignore[no-untyped-def]
    """out[block] = sum_k weights[k] * modes[block, :, k], for blocks from the shared queue.

    modes: (blocks, lines, K, _LINE), so that all of it is read from front to back.
    """
    count = len(weights)
    while True:
        block = fetch_add(queue, 1)
        if block >= blocks:
            return
        at = block * count * _ROW
        for i in range(0, _ROW, _LINE):
            a = fill(np.float32(0))
            b = fill(np.float32(0))
            for k in range(count):
                w = broadcast(weights, k)
                a = fma(load_half(modes, at), w, a)
                b = fma(load_half(modes, at + VECTOR), w, b)
                at += _LINE
            store(out, block * _ROW + i, a)
            store(out, block * _ROW + i + VECTOR, b)
