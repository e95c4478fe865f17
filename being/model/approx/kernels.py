"""Small dense layers over blocks of 64 Gaussians: the pieces of the fused network, as nogil numba kernels.

A block holds its Gaussians as lanes: row k, lane l of a block sits at k * 64 + l, so that a weight meets 64 Gaussians
at once and every intermediate of a block (49 KB) stays in the core's own cache. One thread owns a scratch buffer;
offsets into it name the intermediates.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from being.raster.cpu.jit import kernel
from being.raster.cpu.simd import broadcast, exp, fill, fma, load, maximum, relu, root, store

Floats = npt.NDArray[np.float32]

LANES = 64  # Gaussians in a block
VECTOR = 16  # of them in one vector register value
EXACT: set[str] = set()  # the order of operations is written out: nothing for a compiler to reassociate
PANEL = 6  # outputs computed together: six accumulators, one input, one weight fit sixteen AVX2 registers


def pack(weight: Floats, bias: Floats) -> Floats:
    """(O, K) and (O,) to the order `affine` reads: panels of six outputs, each a row of biases, then K rows."""
    outputs, inputs = weight.shape
    panels = -(-outputs // PANEL)
    rows = np.zeros((panels * PANEL, inputs + 1), np.float32)
    rows[:outputs, 0] = bias
    rows[:outputs, 1:] = weight
    return np.ascontiguousarray(rows.reshape(panels, PANEL, inputs + 1).transpose(0, 2, 1)).reshape(-1)


@kernel(EXACT, allocates=False)
def affine(x, x_at, y, y_at, weight, at, inputs, outputs, activate, add):  # type: ignore[no-untyped-def]
    """y = W x + b for one block; `activate`: ReLU; `add`: onto what y holds. Returns where the next weights start."""
    for first in range(0, outputs, PANEL):
        rows = min(PANEL, outputs - first)
        for lane in range(0, LANES, VECTOR):
            w = at
            a0 = broadcast(weight, w)
            a1 = broadcast(weight, w + 1)
            a2 = broadcast(weight, w + 2)
            a3 = broadcast(weight, w + 3)
            a4 = broadcast(weight, w + 4)
            a5 = broadcast(weight, w + 5)
            i = x_at + lane
            for _ in range(inputs):
                w += PANEL
                v = load(x, i)
                a0 = fma(v, broadcast(weight, w), a0)
                a1 = fma(v, broadcast(weight, w + 1), a1)
                a2 = fma(v, broadcast(weight, w + 2), a2)
                a3 = fma(v, broadcast(weight, w + 3), a3)
                a4 = fma(v, broadcast(weight, w + 4), a4)
                a5 = fma(v, broadcast(weight, w + 5), a5)
                i += LANES
            if activate:
                a0 = relu(a0)
                a1 = relu(a1)
                a2 = relu(a2)
                a3 = relu(a3)
                a4 = relu(a4)
                a5 = relu(a5)
            o = y_at + first * LANES + lane
            _put(y, o, a0, add)
            if rows > 1:
                _put(y, o + LANES, a1, add)
            if rows > 2:
                _put(y, o + 2 * LANES, a2, add)
            if rows > 3:
                _put(y, o + 3 * LANES, a3, add)
            if rows > 4:
                _put(y, o + 4 * LANES, a4, add)
            if rows > 5:
                _put(y, o + 5 * LANES, a5, add)
        at += PANEL * (inputs + 1)
    return at


@njit(inline="always", error_model="numpy")
def _put(y, at, value, add):  # type: ignore[no-untyped-def]
    if add:
        store(y, at, value + load(y, at))
    else:
        store(y, at, value)


@kernel(EXACT, allocates=False)
def layer_norm(x, x_at, weight, at, width):  # type: ignore[no-untyped-def]
    """Normalise each lane over its `width` rows, in place; weights are `width` gammas, then betas. Returns the next."""
    share = fill(np.float32(1) / np.float32(width))
    for lane in range(0, LANES, VECTOR):
        mean = fill(np.float32(0))
        for k in range(width):
            mean = mean + load(x, x_at + k * LANES + lane)
        mean = mean * share
        variance = fill(np.float32(0))
        for k in range(width):
            off = load(x, x_at + k * LANES + lane) - mean
            variance = fma(off, off, variance)
        scale = fill(np.float32(1)) / root(fma(variance, share, fill(np.float32(1e-12))))
        for k in range(width):
            i = x_at + k * LANES + lane
            store(x, i, fma((load(x, i) - mean) * scale, broadcast(weight, at + k), broadcast(weight, at + width + k)))
    return at + 2 * width


@kernel(EXACT, allocates=False)
def weigh_tokens(a, a_at, heads, tokens, token_weight, gated, gates, gates_at):  # type: ignore[no-untyped-def]
    """Scores (rows h * tokens + t) to attention in place: softmax, times each token's weight, renormalised.

    token_weight: (tokens,). gated: (tokens,) bool, tokens that the lane's gate multiplies too.
    """
    for lane in range(0, LANES, VECTOR):
        gate = load(gates, gates_at + lane)
        for head in range(heads):
            i = a_at + head * tokens * LANES + lane
            top = load(a, i)
            for t in range(1, tokens):
                top = maximum(top, load(a, i + t * LANES))
            total = fill(np.float32(1e-20))
            for t in range(tokens):
                value = exp(load(a, i + t * LANES) - top) * broadcast(token_weight, t)
                if gated[t]:
                    value = value * gate
                store(a, i + t * LANES, value)
                total = total + value
            share = fill(np.float32(1)) / total
            for t in range(tokens):
                store(a, i + t * LANES, load(a, i + t * LANES) * share)


@kernel(EXACT, allocates=False)
def rectify(x, x_at, rows):  # type: ignore[no-untyped-def]
    """ReLU of `rows` rows in place."""
    for i in range(x_at, x_at + rows * LANES, VECTOR):
        store(x, i, relu(load(x, i)))
