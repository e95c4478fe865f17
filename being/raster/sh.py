"""Real spherical harmonics up to degree 3.

The basis is the one of 3D Gaussian splatting files (Condon-Shortley signs; coefficient 0 is the constant), written as
polynomials of the unit direction (x, y, z): https://en.wikipedia.org/wiki/Table_of_spherical_harmonics.
"""

from __future__ import annotations

from math import pi, sqrt

import torch
from torch import Tensor

C0 = 0.5 * sqrt(1.0 / pi)
C1 = 0.5 * sqrt(3.0 / pi)
C2_XY = 0.5 * sqrt(15.0 / pi)
C2_ZZ = 0.25 * sqrt(5.0 / pi)
C3_A = 0.25 * sqrt(35.0 / (2.0 * pi))
C3_B = 0.5 * sqrt(105.0 / pi)
C3_C = 0.25 * sqrt(21.0 / (2.0 * pi))
C3_D = 0.25 * sqrt(7.0 / pi)

COEFFICIENTS = (1, 4, 9, 16)  # of degree 0, 1, 2, 3


def spherical_harmonics_reference(sh: Tensor, directions: Tensor) -> Tensor:
    """Evaluate colours in plain PyTorch; arguments as `being.raster.colour.spherical_harmonics`."""
    basis = sh_basis(directions, sh.shape[1])
    # not an einsum: on a GPU that is as many tiny matrix products as there are splats
    return (0.5 + (basis[..., None] * sh).sum(1)).clamp(min=0.0)


def sh_basis(directions: Tensor, coefficients: int) -> Tensor:
    """Return the first `coefficients` basis functions (N, K) at unit directions (N, 3)."""
    x, y, z = directions.unbind(-1)
    values = [torch.full_like(x, C0)]
    if coefficients > 1:
        values += [-C1 * y, C1 * z, -C1 * x]
    if coefficients > 4:
        values += [
            C2_XY * x * y,
            -C2_XY * y * z,
            C2_ZZ * (3 * z * z - 1),
            -C2_XY * x * z,
            0.5 * C2_XY * (x * x - y * y),
        ]
    if coefficients > 9:
        values += [
            -C3_A * y * (3 * x * x - y * y),
            C3_B * x * y * z,
            -C3_C * y * (5 * z * z - 1),
            C3_D * z * (5 * z * z - 3),
            -C3_C * x * (5 * z * z - 1),
            0.5 * C3_B * z * (x * x - y * y),
            -C3_A * x * (x * x - 3 * y * y),
        ]
    return torch.stack(values, dim=-1)
