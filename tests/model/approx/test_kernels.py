"""The vector operations and the small layers, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from being.model.approx.blocks import from_blocks, to_blocks
from being.model.approx.kernels import LANES, affine, pack
from being.raster.cpu.simd import exp, load, load_half, root, store


@njit
def _curve(x, out):  # type: ignore[no-untyped-def]
    for i in range(0, len(x), 16):
        v = load(x, i)
        store(out, i, exp(v) / root(v * v + exp(v - v)))


@njit
def _halves(x, out):  # type: ignore[no-untyped-def]
    for i in range(0, len(x), 16):
        store(out, i, load_half(x, i))


def test_operations() -> None:
    x = np.linspace(-80, 86, 1600).astype(np.float32)
    out = np.empty_like(x)
    _curve(x, out)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(out, np.exp(wide) / np.sqrt(wide**2 + 1), rtol=1e-6)


def test_exp_does_not_overflow() -> None:
    x = np.array([-1e9, -88, 89, 1e9] * 4, np.float32)
    out = np.empty_like(x)
    _curve(x, out)
    assert np.isfinite(out).all() and (out >= 0).all()


def test_halves() -> None:
    x = np.random.default_rng(0).normal(size=64).astype(np.float16)
    out = np.empty(64, np.float32)
    _halves(x.view(np.uint16), out)
    np.testing.assert_array_equal(out, x.astype(np.float32))


@pytest.mark.parametrize("outputs", [1, 3, 4, 6, 14, 64])
def test_affine(outputs: int) -> None:
    rng = np.random.default_rng(outputs)
    x, weight, bias = (rng.normal(size=s).astype(np.float32) for s in ((17, LANES), (outputs, 17), outputs))
    before = rng.normal(size=(outputs, LANES)).astype(np.float32)
    packed = pack(weight, bias)
    expected = weight @ x + bias[:, None]
    no, yes = np.bool_(False), np.bool_(True)
    for activate, add, wanted in (
        (no, no, expected),
        (yes, no, np.maximum(expected, 0)),
        (no, yes, expected + before),
    ):
        y = np.concatenate([before.reshape(-1), np.full(LANES, 7, np.float32)])
        assert affine(x.reshape(-1), 0, y, 0, packed, 0, 17, outputs, activate, add) == len(packed)
        np.testing.assert_allclose(y[:-LANES].reshape(outputs, LANES), wanted, atol=1e-5)
        assert (y[-LANES:] == 7).all()  # nothing is written past the outputs


def test_blocks_come_back() -> None:
    rows = np.random.default_rng(0).normal(size=(150, 5)).astype(np.float32)
    blocks = to_blocks(rows)
    assert blocks.shape == (3, 5, LANES)
    np.testing.assert_array_equal(from_blocks(blocks, 150), rows)
