"""Scenes that the rasterizer tests draw, and the comparison of two backends on them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from being.raster import Cameras, Raster, Splats, rasterize

NAMES = ("means", "quats", "scales", "opacities", "colors")


def cloud(count: int, seed: int = 0) -> dict[str, Tensor]:
    """Splats of many sizes and shapes in front of, beside and behind a camera at the origin, float64."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    return {
        "means": normal(count, 3) * torch.tensor([1.5, 1.2, 1.0]) + torch.tensor([0.0, 0.0, 3.0]),
        "quats": normal(count, 4),
        "scales": torch.exp(0.8 * normal(count, 3) - 2.5),
        "opacities": torch.sigmoid(2.0 * normal(count)),
        "colors": torch.rand(count, 3, generator=random, dtype=torch.float64) * 1.5,
    }


def camera(width: int, height: int, turn: float = 0.2, focal: float = 1.1) -> tuple[Tensor, Tensor]:
    """One view (1, 3, 4) and intrinsics (1, 4) whose principal point is off the middle, float64."""
    c, s = math.cos(turn), math.sin(turn)
    view = torch.tensor([[[c, 0.0, s, -0.4], [0.0, 1.0, 0.0, 0.1], [-s, 0.0, c, 0.3]]], dtype=torch.float64)
    f = focal * width
    return view, torch.tensor([[f, 1.05 * f, 0.47 * width, 0.55 * height]], dtype=torch.float64)


def draw(
    splats: dict[str, Tensor],
    offsets: tuple[int, ...],
    view: Tensor,
    intrinsics: Tensor,
    size: tuple[int, int],
    backend: str,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> tuple[Raster, dict[str, Tensor]]:
    """Draw and differentiate a fixed random loss of rgb, alpha and depth; return the raster and the gradients."""
    leaves = {name: splats[name].to(device, dtype, copy=True).requires_grad_() for name in NAMES}
    probe = torch.zeros(offsets[-1], 2, dtype=dtype, device=device, requires_grad=True)
    cameras = Cameras(view.to(device, dtype), intrinsics.to(device, dtype), *size)
    raster = rasterize(Splats(**leaves, offsets=offsets), cameras, probe=probe, backend=backend)
    random = torch.Generator().manual_seed(7)
    pictures = (raster.rgb, raster.alpha, raster.depth)
    loss = torch.zeros((), dtype=dtype, device=device)
    for picture in pictures:
        weights = torch.randn(picture.shape, generator=random, dtype=torch.float64)
        loss = loss + (picture * weights.to(device, dtype)).sum()
    loss.backward()
    leaves["probe"] = probe
    gradients = {name: leaf.grad if leaf.grad is not None else torch.zeros_like(leaf) for name, leaf in leaves.items()}
    return raster, gradients


def relative_error(value: Tensor, truth: Tensor) -> float:
    """L2 norm of the difference, relative to the truth's."""
    difference = (value.detach().cpu().double() - truth.detach().cpu().double()).norm()
    return (difference / truth.detach().cpu().double().norm().clamp(min=1e-12)).item()


def assert_same(
    drawn: tuple[Raster, dict[str, Tensor]],
    truth: tuple[Raster, dict[str, Tensor]],
    value_error: float = 1e-5,
    gradient_error: float = 1e-4,
    at_cutoffs: float = 6e-3,
    radius: Callable[[Tensor], Tensor] = lambda radii: radii,
) -> None:
    """Hold a drawing against the truth, by relative L2 norm.

    At the few pixels where a splat's alpha is within rounding of 1/255, or the transmittance of 1e-4, the two may
    decide differently; there they may differ by `at_cutoffs` times the largest value.
    """
    for name in ("rgb", "alpha", "depth"):
        value, expected = getattr(drawn[0], name).detach().cpu().double(), getattr(truth[0], name).detach().double()
        assert value.shape == expected.shape
        assert torch.isfinite(value).all()
        if expected.numel():
            largest = max(expected.abs().max().item(), 1.0)
            difference = (value - expected).abs()
            assert difference.max() <= at_cutoffs * largest, name
            assert difference.flatten().quantile(0.99) <= value_error * largest, name
    torch.testing.assert_close(
        radius(drawn[0].radii.detach().cpu().double()), radius(truth[0].radii.detach().double()), rtol=1e-4, atol=1e-3
    )
    assert drawn[1].keys() == truth[1].keys()
    for name, gradient in drawn[1].items():
        assert torch.isfinite(gradient).all(), name
        assert relative_error(gradient, truth[1][name]) <= gradient_error, name
