"""The gsplat backend against the float64 reference; needs a CUDA device, except for the layout of the batch."""

from __future__ import annotations

import importlib.util
import math
from itertools import pairwise

import pytest
import torch
from support.raster_scenes import NAMES, assert_same, camera, cloud, draw

from being.errors import BeingError
from being.raster import Cameras, Splats, rasterize, spherical_harmonics
from being.raster.gsplat import _Batch

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available() or importlib.util.find_spec("gsplat") is None,
    reason="needs a CUDA device and gsplat",
)


def ignored(radii: torch.Tensor) -> torch.Tensor:
    """gsplat rounds radii up, and keeps splats that reach the picture but no pixel's centre: compared apart."""
    return torch.zeros_like(radii)


def in_view(count: int, seed: int) -> dict[str, torch.Tensor]:
    """A cloud with opacities under the cap, where gsplat and the contract agree to rounding."""
    splats = cloud(count, seed)
    splats["opacities"] = splats["opacities"].clamp(max=0.985)
    return splats


@pytest.mark.parametrize("offsets", [(0, 3, 6), (0, 0, 5, 6), (0, 6, 6), (0, 0, 0)])
def test_batches_are_laid_out_and_back(offsets: tuple[int, ...]) -> None:
    splats = cloud(offsets[-1])
    batch = _Batch(Splats(**splats, offsets=offsets))
    rows = batch.fold(splats["means"], -1.0)
    assert rows.shape == (len(offsets) - 1, max(1, *(b - a for a, b in pairwise(offsets))), 3)
    for image, (first, last) in enumerate(pairwise(offsets)):
        assert torch.equal(rows[image, : last - first], splats["means"][first:last].float())
        assert (rows[image, last - first :] == -1.0).all()
    assert torch.equal(batch.unfold(rows), splats["means"].float())


@needs_cuda
@pytest.mark.parametrize(("width", "height"), [(64, 64), (37, 61), (16, 16), (1, 1)])
def test_agrees_at_any_size(width: int, height: int) -> None:
    splats, (view, intrinsics) = in_view(400, seed=width), camera(width, height)
    scene = (splats, (0, 400), view, intrinsics, (width, height))
    truth = draw(*scene, "reference", torch.float64)
    drawn = draw(*scene, "gsplat", device="cuda")
    assert_same(drawn, truth, value_error=1e-4, gradient_error=5e-3, radius=ignored)
    seen = truth[0].radii > 0
    rounded = drawn[0].radii.cpu().double()[seen]
    assert ((rounded - truth[0].radii[seen]).abs() <= 1.01).all()


@needs_cuda
def test_agrees_on_a_ragged_batch_with_empty_images() -> None:
    splats, (view, intrinsics) = in_view(350, seed=9), camera(45, 33)
    views = view.repeat(5, 1, 1)
    views[:, 0, 3] += torch.linspace(-0.5, 0.5, 5, dtype=torch.float64)
    scene = (splats, (0, 0, 200, 200, 350, 350), views, intrinsics.repeat(5, 1), (45, 33))
    truth = draw(*scene, "reference", torch.float64)
    assert_same(draw(*scene, "gsplat", device="cuda"), truth, 1e-4, 5e-3, radius=ignored)


@needs_cuda
def test_opaque_splats_differ_by_the_cap_alone_and_can_fade() -> None:
    splats, (view, intrinsics) = cloud(100, seed=6), camera(40, 30)
    splats["opacities"] = torch.full_like(splats["opacities"], 0.998)
    scene = (splats, (0, 100), view, intrinsics, (40, 30))
    drawn, truth = draw(*scene, "gsplat", device="cuda"), draw(*scene, "reference", torch.float64)
    assert (drawn[0].alpha.cpu().double() - truth[0].alpha).abs().max() < 0.012
    assert drawn[1]["opacities"].abs().max() > 0


@needs_cuda
def test_bad_numbers_draw_nothing_and_hurt_nobody() -> None:
    splats, (view, intrinsics) = in_view(200, seed=11), camera(40, 30)
    good, _ = draw(splats, (0, 200), view, intrinsics, (40, 30), "gsplat", device="cuda")
    bad = {name: torch.cat([values, values[:6]]) for name, values in splats.items()}
    for row, name in enumerate(NAMES):
        bad[name][200 + row] = float("nan")
    bad["quats"][205] = 0.0
    raster, gradients = draw(bad, (0, 206), view, intrinsics, (40, 30), "gsplat", device="cuda")
    assert raster.radii[200:].max() == 0
    torch.testing.assert_close(raster.rgb, good.rgb)
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())


@needs_cuda
@pytest.mark.parametrize("offsets", [(0, 0), (0, 0, 0)])
def test_nothing_to_draw_is_an_empty_picture(offsets: tuple[int, ...]) -> None:
    splats, (view, intrinsics) = cloud(0), camera(20, 10)
    images = len(offsets) - 1
    scene = (splats, offsets, view.repeat(images, 1, 1), intrinsics.repeat(images, 1), (20, 10))
    raster, _ = draw(*scene, "gsplat", device="cuda")
    assert raster.rgb.shape == (images, 10, 20, 3) and raster.alpha.max() == 0


@needs_cuda
def test_auto_takes_cuda_tensors_to_gsplat_and_differs_little_from_numba() -> None:
    splats, (view, intrinsics) = in_view(5000, seed=3), camera(128, 128)
    cameras = Cameras(view.float().cuda(), intrinsics.float().cuda(), 128, 128)
    on_gpu = Splats(**{name: splats[name].float().cuda() for name in NAMES}, offsets=(0, 5000))
    raster = rasterize(on_gpu, cameras)
    on_cpu, _ = draw(splats, (0, 5000), view, intrinsics, (128, 128), "numba")
    error = (raster.rgb.cpu() - on_cpu.rgb.detach()).square().mean().item()
    assert raster.rgb.is_cuda and -10 * math.log10(error) > 60


@needs_cuda
@pytest.mark.parametrize("coefficients", [1, 4, 9, 16])
def test_colours_and_their_gradients_agree_with_the_reference(coefficients: int) -> None:
    random = torch.Generator().manual_seed(coefficients)
    sh = torch.randn(5000, coefficients, 3, generator=random).cuda()
    directions = torch.nn.functional.normalize(torch.randn(5000, 3, generator=random), dim=-1).cuda()
    weights = torch.randn(5000, 3, generator=random).cuda()
    found = []
    for backend in ("gsplat", "reference"):
        leaves = sh.clone().requires_grad_(), directions.clone().requires_grad_()
        colours = spherical_harmonics(*leaves, backend=backend)
        colours.backward(weights)
        across = torch.zeros_like(directions) if leaves[1].grad is None else leaves[1].grad
        across = across - (across * directions).sum(-1, keepdim=True) * directions
        assert leaves[0].grad is not None
        found.append((colours.detach(), leaves[0].grad, across))
    for ours, truth in zip(*found, strict=True):
        assert float((ours - truth).abs().mean()) < 1e-5 * (1 + float(truth.abs().mean()))


def test_colours_on_a_cpu_are_not_gsplats() -> None:
    with pytest.raises(BeingError, match=r"gsplat|CUDA"):
        spherical_harmonics(torch.zeros(2, 4, 3), torch.zeros(2, 3), backend="gsplat")


def of_splats(device: str) -> tuple[Splats, Cameras]:
    splats, (view, intrinsics) = in_view(40, seed=4), camera(12, 10)
    kind = torch.float32 if device == "cuda" else torch.float64
    moved = {name: value.to(device, kind) for name, value in splats.items()}
    return Splats(**moved, offsets=(0, 40)), Cameras(view.to(device, kind), intrinsics.to(device, kind), 12, 10)


@needs_cuda
def test_absolute_gradients_are_sums_over_the_pixels() -> None:
    splats, cameras = of_splats("cpu")
    probe = torch.zeros(40, 2, dtype=torch.float64, requires_grad=True)
    drawn = rasterize(splats, cameras, probe=probe, backend="reference").rgb.sum(-1).flatten()
    wanted = sum(torch.autograd.grad(pixel, probe, retain_graph=True)[0].abs() for pixel in drawn)
    splats, cameras = of_splats("cuda")
    probe = torch.zeros(40, 2, device="cuda", requires_grad=True)
    rasterize(splats, cameras, probe=probe, backend="gsplat", absolute=True).rgb.sum().backward()
    assert probe.grad is not None
    torch.testing.assert_close(probe.grad.cpu().double(), wanted, rtol=0.02, atol=1e-3)


def test_where_there_are_no_absolute_gradients_they_are_the_gradients() -> None:
    splats, cameras = of_splats("cpu")
    found = []
    for absolute in (False, True):
        probe = torch.zeros(40, 2, dtype=torch.float64, requires_grad=True)
        rasterize(splats, cameras, probe=probe, absolute=absolute).rgb.square().sum().backward()
        assert probe.grad is not None
        found.append(probe.grad)
    assert bool(found[0].any()) and torch.equal(found[0], found[1])
