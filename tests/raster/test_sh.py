"""Spherical harmonics: orthonormal, of the known signs, and the kernels equal to the reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from being.errors import InputError
from being.raster import spherical_harmonics
from being.raster.sh import COEFFICIENTS, sh_basis


def random_inputs(count: int, coefficients: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(coefficients)
    sh = torch.randn(count, coefficients, 3, generator=random, dtype=torch.float64)
    directions = torch.randn(count, 3, generator=random, dtype=torch.float64)
    return sh, torch.nn.functional.normalize(directions, dim=-1)


def test_basis_is_orthonormal_on_the_sphere() -> None:
    heights, weights = np.polynomial.legendre.leggauss(8)  # exact to degree 15, the products have degree 6
    angles = (np.arange(16) + 0.5) * 2 * math.pi / 16
    z, angle = np.meshgrid(heights, angles, indexing="ij")
    ring = np.sqrt(1 - z**2)
    points = torch.from_numpy(np.stack([ring * np.cos(angle), ring * np.sin(angle), z], -1).reshape(-1, 3))
    area = torch.from_numpy(np.repeat(weights, 16) * 2 * math.pi / 16)
    basis = sh_basis(points, 16)
    torch.testing.assert_close(basis.T @ (basis * area[:, None]), torch.eye(16, dtype=torch.float64))


def test_signs_are_those_of_splat_files() -> None:
    x, y, z = 0.6, 0.48, 0.64
    basis = sh_basis(torch.tensor([[x, y, z]], dtype=torch.float64), 16)[0]
    assert basis[0].item() == pytest.approx(0.28209479177387814)
    assert basis[1:4].tolist() == pytest.approx([-0.4886025119 * y, 0.4886025119 * z, -0.4886025119 * x])
    assert basis[4].item() == pytest.approx(1.0925484305920792 * x * y)
    assert basis[6].item() == pytest.approx(0.31539156525252005 * (2 * z * z - x * x - y * y))
    assert basis[9].item() == pytest.approx(-0.5900435899266435 * y * (3 * x * x - y * y))
    assert basis[14].item() == pytest.approx(1.445305721320277 * z * (x * x - y * y))


@pytest.mark.parametrize("coefficients", COEFFICIENTS)
@pytest.mark.parametrize("count", [0, 1, 10_000])
def test_kernels_agree_with_the_reference(coefficients: int, count: int) -> None:
    sh, directions = random_inputs(count, coefficients)
    weights = torch.randn(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    results = []
    for backend, dtype in (("numba", torch.float32), ("reference", torch.float64)):
        leaves = sh.to(dtype).requires_grad_(), directions.to(dtype).requires_grad_()
        colors = spherical_harmonics(*leaves, backend=backend)
        assert colors.dtype == dtype and (colors >= 0).all()
        (colors * weights.to(dtype)).sum().backward()
        gradients = [torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]
        results.append([colors.detach(), *gradients])
    for value, truth in zip(*results, strict=True):
        # A sum within rounding of 0 may be clamped in one and not in the other.
        wrong = (value.double() - truth).abs() > 1e-5
        assert wrong.sum() <= 3e-4 * wrong.numel()


def test_auto_computes_float64_in_the_reference() -> None:
    sh, directions = random_inputs(5, 16)
    assert spherical_harmonics(sh, directions).dtype == torch.float64
    assert spherical_harmonics(sh.float(), directions.float()).dtype == torch.float32


def test_wrong_shapes_are_refused() -> None:
    sh, directions = random_inputs(5, 16)
    with pytest.raises(InputError, match="sh has shape"):
        spherical_harmonics(sh[:, :5], directions)
    with pytest.raises(InputError, match="directions have shape"):
        spherical_harmonics(sh, directions[:4])
    with pytest.raises(InputError, match="no colour backend"):
        spherical_harmonics(sh, directions, backend="abacus")
