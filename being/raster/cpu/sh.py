"""CPU kernels of the spherical harmonics, forward and backward: `sh.py` says what they compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from being.raster.cpu.jit import CHECKED_MATH, kernel
from being.raster.cpu.workers import default_threads, run_on_threads
from being.raster.sh import C0, C1, C2_XY, C2_ZZ, C3_A, C3_B, C3_C, C3_D

F = np.float32
BASIS_SIZE = 16
FEW = 4096  # splats: fewer are not worth a second thread


@kernel(CHECKED_MATH)
def fill_basis(x, y, z, coefficients, basis):
    """Write the first `coefficients` basis functions at direction (x, y, z)."""
    basis[0] = F(C0)
    if coefficients > 1:
        basis[1], basis[2], basis[3] = F(-C1) * y, F(C1) * z, F(-C1) * x
    if coefficients > 4:
        basis[4], basis[5] = F(C2_XY) * x * y, F(-C2_XY) * y * z
        basis[6] = F(C2_ZZ) * (F(3) * z * z - F(1))
        basis[7], basis[8] = F(-C2_XY) * x * z, F(0.5 * C2_XY) * (x * x - y * y)
    if coefficients > 9:
        five = F(5) * z * z
        basis[9] = F(-C3_A) * y * (F(3) * x * x - y * y)
        basis[10] = F(C3_B) * x * y * z
        basis[11] = F(-C3_C) * y * (five - F(1))
        basis[12] = F(C3_D) * z * (five - F(3))
        basis[13] = F(-C3_C) * x * (five - F(1))
        basis[14] = F(0.5 * C3_B) * z * (x * x - y * y)
        basis[15] = F(-C3_A) * x * (x * x - F(3) * y * y)


@kernel(CHECKED_MATH)
def fill_basis_gradient(x, y, z, coefficients, gradient):
    """Write the derivatives (coefficients, 3) of the basis functions by x, y, z; the others must hold zero."""
    if coefficients > 1:
        gradient[1, 1], gradient[2, 2], gradient[3, 0] = F(-C1), F(C1), F(-C1)
    if coefficients > 4:
        gradient[4, 0], gradient[4, 1] = F(C2_XY) * y, F(C2_XY) * x
        gradient[5, 1], gradient[5, 2] = F(-C2_XY) * z, F(-C2_XY) * y
        gradient[6, 2] = F(6 * C2_ZZ) * z
        gradient[7, 0], gradient[7, 2] = F(-C2_XY) * z, F(-C2_XY) * x
        gradient[8, 0], gradient[8, 1] = F(C2_XY) * x, F(-C2_XY) * y
    if coefficients > 9:
        five = F(5) * z * z - F(1)
        square = x * x - y * y
        gradient[9, 0], gradient[9, 1] = F(-6 * C3_A) * x * y, F(-3 * C3_A) * square
        gradient[10, 0], gradient[10, 1], gradient[10, 2] = F(C3_B) * y * z, F(C3_B) * x * z, F(C3_B) * x * y
        gradient[11, 1], gradient[11, 2] = F(-C3_C) * five, F(-10 * C3_C) * y * z
        gradient[12, 2] = F(3 * C3_D) * five
        gradient[13, 0], gradient[13, 2] = F(-C3_C) * five, F(-10 * C3_C) * x * z
        gradient[14, 0], gradient[14, 1] = F(C3_B) * x * z, F(-C3_B) * y * z
        gradient[14, 2] = F(0.5 * C3_B) * square
        gradient[15, 0], gradient[15, 1] = F(-3 * C3_A) * square, F(6 * C3_A) * x * y


@kernel(CHECKED_MATH)
def evaluate(first, last, sh, directions, colors):
    """Write colors (N, 3) of splats first..last from sh (N, K, 3) and directions (N, 3)."""
    coefficients = sh.shape[1]
    basis = np.empty(BASIS_SIZE, np.float32)
    for i in range(first, last):
        fill_basis(directions[i, 0], directions[i, 1], directions[i, 2], coefficients, basis)
        red = green = blue = F(0.5)
        for k in range(coefficients):
            red += basis[k] * sh[i, k, 0]
            green += basis[k] * sh[i, k, 1]
            blue += basis[k] * sh[i, k, 2]
        colors[i, 0], colors[i, 1], colors[i, 2] = max(red, F(0)), max(green, F(0)), max(blue, F(0))


@kernel(CHECKED_MATH)
def evaluate_backward(first, last, sh, directions, colors, d_colors, d_sh, d_directions):
    """Write the gradients by sh and directions of splats first..last; none passes a channel that was clamped to 0."""
    coefficients = sh.shape[1]
    basis = np.empty(BASIS_SIZE, np.float32)
    gradient = np.zeros((BASIS_SIZE, 3), np.float32)
    for i in range(first, last):
        x, y, z = directions[i, 0], directions[i, 1], directions[i, 2]
        fill_basis(x, y, z, coefficients, basis)
        fill_basis_gradient(x, y, z, coefficients, gradient)
        red = d_colors[i, 0] if colors[i, 0] > F(0) else F(0)
        green = d_colors[i, 1] if colors[i, 1] > F(0) else F(0)
        blue = d_colors[i, 2] if colors[i, 2] > F(0) else F(0)
        dx = dy = dz = F(0)
        for k in range(coefficients):
            d_sh[i, k, 0], d_sh[i, k, 1], d_sh[i, k, 2] = basis[k] * red, basis[k] * green, basis[k] * blue
            slope = sh[i, k, 0] * red + sh[i, k, 1] * green + sh[i, k, 2] * blue
            dx += slope * gradient[k, 0]
            dy += slope * gradient[k, 1]
            dz += slope * gradient[k, 2]
        d_directions[i, 0], d_directions[i, 1], d_directions[i, 2] = dx, dy, dz


class SphericalHarmonics(torch.autograd.Function):
    """`being.raster.spherical_harmonics` of float32 CPU tensors as one step of autograd."""

    @staticmethod
    def forward(ctx: Any, sh: Tensor, directions: Tensor) -> Tensor:
        sh, directions = sh.detach().contiguous(), directions.detach().contiguous()
        colors = torch.empty(sh.shape[0], 3)
        _share_out(evaluate, sh, directions, colors)
        ctx.save_for_backward(sh, directions, colors)
        return colors

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        sh, directions, colors = ctx.saved_tensors
        d_sh, d_directions = torch.empty_like(sh), torch.empty_like(directions)
        _share_out(evaluate_backward, sh, directions, colors, gradients[0].contiguous(), d_sh, d_directions)
        return d_sh, d_directions


def _share_out(function: Any, *tensors: Tensor) -> None:
    """Run a kernel on all splats, each thread on a share of them."""
    count = tensors[0].shape[0]
    threads = default_threads() if count >= FEW else 1
    arrays = [tensor.detach().numpy() for tensor in tensors]

    def part_of(part: int) -> None:
        function(count * part // threads, count * (part + 1) // threads, *arrays)

    run_on_threads(part_of, threads)


def warmup(training: bool) -> None:
    """Compile the kernels (the gradients only where asked)."""
    sh, directions = torch.zeros(1, 16, 3, requires_grad=training), torch.ones(1, 3)
    colors = SphericalHarmonics.apply(sh, directions)
    if training:
        colors.sum().backward()
