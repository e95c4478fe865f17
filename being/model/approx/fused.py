"""The whole deformation network in one pass over blocks of 64 Gaussians: the exact CPU twin.

Nothing leaves the core's cache between the features and the offsets. Floor per Gaussian: 66k multiply-adds, so 10k
Gaussians cost 1.3 GFLOP; a core of 100 GFLOP/s needs 13 ms. Memory traffic (256 bytes in, 236 out) is no concern.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from being.errors import InputError
from being.model.approx import thread_split
from being.model.approx.blocks import FULL_CHANNELS, Floats, Indices, to_blocks
from being.model.approx.kernels import EXACT, LANES, affine, layer_norm, pack, rectify, weigh_tokens
from being.model.fold import LayerFold
from being.model.network import GATED, OFFSET_SIZES, DeformationNetwork
from being.processors import usable_processors
from being.raster.cpu.jit import fetch_add, kernel

Head = tuple[nn.Linear, nn.Linear]


def _numpy(tensor: Tensor) -> Floats:
    return tensor.detach().float().cpu().numpy()


class FusedNetwork:
    """A network's per-Gaussian part with weights packed for `_deform`.

    Parameters
    ----------
    network : its layers and emotion weight are read once; later changes are not seen.
    heads : pairs of linear maps with a ReLU before each, whose outputs are stacked; the network's five when None.
    """

    def __init__(self, network: DeformationNetwork, heads: Sequence[Head] | None = None) -> None:
        config = network.config
        self.width, self.heads, self.layers = config.width, config.heads, config.layers
        if heads is None:
            heads = [_linear_pair(network.heads[name]) for name in OFFSET_SIZES]
        self.channels = sum(second.out_features for _, second in heads)
        weight = _numpy(network.token_weights(None))[0]
        # A token of weight zero takes no part: the untrained emotion token costs nothing.
        self._kept = np.flatnonzero(weight > 0)
        self.token_weight = np.ascontiguousarray(weight[self._kept])
        self.gated = np.array([config.tokens[index] in GATED for index in self._kept])
        self.tokens = len(self._kept)
        self._layers = [_FoldedLayer(layer) for layer in network.layers]
        self.hidden = config.head_width
        self.layer_weights = np.concatenate([layer.weights for layer in self._layers])
        self.head_weights = np.concatenate(
            [pack(_numpy(linear.weight), _numpy(linear.bias)) for pair in heads for linear in pair]
        )
        self.head_sizes = np.array([(first.out_features, second.out_features) for first, second in heads], np.int64)
        self._token_count = len(config.tokens)

    def fold(self, tokens: Floats) -> Floats:
        """(T, width) tokens of a frame to the packed score and output vectors of every layer."""
        if tokens.shape != (self._token_count, self.width):
            raise InputError(f"tokens have shape {tokens.shape}, expected {(self._token_count, self.width)}")
        kept = tokens[self._kept]
        return np.concatenate([layer.fold(kept) for layer in self._layers])

    def scratch(self) -> Floats:
        """A buffer for one thread."""
        widest = max(self.width, self.hidden, int(self.head_sizes[:, 0].max()))
        return np.empty((self.width + self.heads * self.tokens + widest) * LANES, np.float32)

    def run(self, tokens: Floats, features: Floats, gates: Floats, out: Floats, threads: int) -> None:
        """Offsets of features (blocks, width, 64) with gates (blocks, 64) into out (>= blocks, channels, 64)."""
        frame = self.fold(tokens)
        blocks = len(features)
        flat = (features.reshape(-1), gates.reshape(-1), out.reshape(-1))

        def work(queue: npt.NDArray[np.int64]) -> None:
            _deform(
                queue,
                blocks,
                *flat,
                self.scratch(),
                frame,
                self.layer_weights,
                self.head_weights,
                self.head_sizes,
                self.token_weight,
                self.gated,
                (self.width, self.heads, self.tokens, self.layers, self.hidden, self.channels),
            )

        thread_split.run(work, min(threads, blocks))


class FusedDeformer:
    """A `Deformer` that evaluates the full network for every Gaussian.

    Attributes
    ----------
    order : (N,) the Gaussian of each row.
    channels : 59, all offsets.
    baseline : None, nothing is constant.
    """

    baseline: Floats | None = None

    def __init__(self, network: DeformationNetwork, features: Floats, audio_gate: Floats, threads: int = 0) -> None:
        """features: (N, width) canonical features; audio_gate: (N,); threads: 0 for all usable cores."""
        self.order: Indices = np.arange(len(features))
        self.channels = FULL_CHANNELS
        self._network = FusedNetwork(network)
        self._features = to_blocks(features)
        self._gates = to_blocks(audio_gate[:, None])[:, 0]
        self.threads = threads or usable_processors()

    def __call__(self, tokens: Floats, out: Floats) -> Floats:
        """Offsets of a frame with tokens (T, width), in blocks; returns `out`."""
        self._network.run(tokens, self._features, self._gates, out, self.threads)
        return out


class _FoldedLayer:
    """One attention layer: static weights packed, and what its tokens fold into (see `being.model.attention`)."""

    def __init__(self, layer: Any) -> None:
        self._fold = LayerFold(layer)
        self._output_bias = _numpy(layer.output.bias)
        self.weights = np.concatenate(
            [
                _numpy(layer.norm_attention.weight),
                _numpy(layer.norm_attention.bias),
                pack(_numpy(layer.ffn_in.weight), _numpy(layer.ffn_in.bias)),
                pack(_numpy(layer.ffn_out.weight), _numpy(layer.ffn_out.bias)),
                _numpy(layer.norm_ffn.weight),
                _numpy(layer.norm_ffn.bias),
            ]
        )

    def fold(self, tokens: Floats) -> Floats:
        scores, score_bias, outputs = self._fold(tokens[None])
        return np.concatenate([pack(scores[0].T, score_bias[0]), pack(outputs[0].T, self._output_bias)])


def _linear_pair(head: nn.Module) -> Head:
    first, second = (module for module in head.children() if isinstance(module, nn.Linear))
    return first, second


@kernel(EXACT, allocates=False)
def _deform(  # type: ignore[no-untyped-def]
    queue,
    blocks,
    features,
    gates,
    out,
    scratch,
    frame,
    layer_weights,
    head_weights,
    head_sizes,
    token_weight,
    gated,
    sizes,
):
    """Blocks of Gaussians from the shared queue until none is left; see `FusedNetwork.run` for the arrays."""
    width, heads, tokens, layers, hidden, channels = sizes
    # Python literals would make numba compile each kernel once per combination of them.
    yes, no, x = np.bool_(True), np.bool_(False), np.int64(0)
    attention = x + width * LANES
    wide = attention + heads * tokens * LANES
    while True:
        block = fetch_add(queue, 1)
        if block >= blocks:
            return
        first = block * width * LANES
        for i in range(width * LANES):
            scratch[i] = features[first + i]
        in_frame, at = x, x
        for _ in range(layers):
            in_frame = affine(scratch, x, scratch, attention, frame, in_frame, width, heads * tokens, no, no)
            weigh_tokens(scratch, attention, heads, tokens, token_weight, gated, gates, block * LANES)
            in_frame = affine(scratch, attention, scratch, x, frame, in_frame, heads * tokens, width, no, yes)
            at = layer_norm(scratch, x, layer_weights, at, width)
            at = affine(scratch, x, scratch, wide, layer_weights, at, width, hidden, yes, no)
            at = affine(scratch, wide, scratch, x, layer_weights, at, hidden, width, no, yes)
            at = layer_norm(scratch, x, layer_weights, at, width)
        rectify(scratch, x, width)
        at = x
        row = block * channels * LANES
        for head in range(len(head_sizes)):
            inner, outer = head_sizes[head]
            at = affine(scratch, x, scratch, wide, head_weights, at, width, inner, yes, no)
            at = affine(scratch, wide, out, row, head_weights, at, inner, outer, no, no)
            row += outer * LANES
