"""The Triton rasterizer against the float64 reference; without a GPU in Triton's interpreter."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton", reason="Triton is not installed (it comes with PyTorch's CUDA builds)")

from support.raster_scenes import camera, cloud, relative_error

from being.raster import Cameras, Splats, rasterize
from being.raster.contract import MAX_ALPHA, scaled_low_pass
from being.raster.gpu.drawing import draw_splats

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
NAMES = ("means", "quats", "scales", "opacities", "colors")


def scene(pictures: int, count: int, seed: int = 0) -> dict[str, torch.Tensor]:
    """Splats (B, n, ...) in front of the camera, float32."""
    parts = cloud(pictures * count, seed)
    parts["opacities"] = parts["opacities"].clamp(max=MAX_ALPHA - 0.005)
    return {name: parts[name].float().unflatten(0, (pictures, count)).contiguous() for name in NAMES}


def drawn(
    parts: dict[str, torch.Tensor], width: int, height: int, depth: bool = True, scale: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    numbers = [*camera(width, height)[1][0].tolist(), *scaled_low_pass(scale)]
    cameras = torch.tensor([numbers], device=DEVICE).repeat(len(parts["means"]), 1)
    rgb = torch.full((len(cameras), height, width, 3), float("nan"), device=DEVICE)
    alpha = torch.full((len(cameras), height, width), float("nan"), device=DEVICE)
    far = alpha.clone() if depth else None
    draw_splats(tuple(parts[name].to(DEVICE) for name in NAMES), cameras, rgb, alpha, far)
    return rgb, alpha, far


def reference(parts: dict[str, torch.Tensor], width: int, height: int, scale: float = 1.0) -> tuple[torch.Tensor, ...]:
    pictures, count = parts["means"].shape[:2]
    flat = {name: part.flatten(0, 1).double() for name, part in parts.items()}
    offsets = tuple(count * picture for picture in range(pictures + 1))
    view = torch.eye(3, 4, dtype=torch.float64).expand(pictures, 3, 4)
    intrinsics = camera(width, height)[1].expand(pictures, 4)
    low_pass = None if scale == 1.0 else torch.tensor([scaled_low_pass(scale)] * pictures)
    cameras = Cameras(view, intrinsics, width, height, low_pass)
    raster = rasterize(Splats(**flat, offsets=offsets), cameras, backend="reference")
    return raster.rgb, raster.alpha, raster.depth


@pytest.mark.parametrize(("width", "height"), [(48, 32), (37, 21), (16, 16), (1, 1)])
@pytest.mark.parametrize("pictures", [1, 2])
def test_pictures_are_the_reference_s(width: int, height: int, pictures: int) -> None:
    parts = scene(pictures, 150, seed=width)
    truth = reference(parts, width, height)
    for ours, wanted in zip(drawn(parts, width, height), truth, strict=True):
        assert ours is not None and torch.isfinite(ours).all()
        assert relative_error(ours, wanted) < 1e-3  # a splat more or less at the cutoff of 1/255
        off = (ours.cpu().double() - wanted).abs()
        assert off.median() < 1e-5 and (off > 1e-4).float().mean() < 0.01


@pytest.mark.parametrize("scale", [0.4, 2.0])
def test_pictures_of_other_sizes_are_filtered_like_the_reference_s(scale: float) -> None:
    parts = scene(2, 150, seed=4)
    for ours, wanted in zip(drawn(parts, 48, 32, scale=scale), reference(parts, 48, 32, scale), strict=True):
        assert ours is not None and relative_error(ours, wanted) < 1e-3


def test_a_tile_has_more_splats_than_are_looked_at_together() -> None:
    """Several rounds of each list, most of whose splats reach every tile."""
    parts = scene(1, 1300, seed=3)
    parts["opacities"] = parts["opacities"] * 0.05
    parts["scales"] = parts["scales"] * 3
    rgb, alpha, depth = drawn(parts, 24, 40)
    truth = reference(parts, 24, 40)
    assert relative_error(rgb, truth[0]) < 1e-3 and relative_error(alpha, truth[1]) < 1e-3
    assert depth is not None and relative_error(depth, truth[2]) < 1e-3


def test_pixels_that_are_full_take_no_more() -> None:
    parts = scene(1, 600, seed=5)
    parts["opacities"] = torch.full_like(parts["opacities"], 0.98)
    parts["scales"] = parts["scales"] * 4
    rgb, alpha, _ = drawn(parts, 32, 32)
    truth = reference(parts, 32, 32)
    assert relative_error(rgb, truth[0]) < 1e-3 and alpha.max() < 1


def test_what_must_not_be_drawn_is_not() -> None:
    parts = scene(1, 60, seed=11)
    alone = drawn(parts, 40, 24)
    bad = scene(1, 60 + 4, seed=11)
    for name in NAMES:
        bad[name][:, :60] = parts[name]
    bad["means"][0, 60] = torch.tensor([0.0, 0.0, -2.0])  # behind the camera
    bad["means"][0, 61] = torch.tensor([0.0, 0.0, 0.1])  # too near
    bad["opacities"][0, 62] = 0.0
    bad["means"][0, 62] = float("nan")
    bad["quats"][0, 63] = 0.0
    for ours, wanted in zip(drawn(bad, 40, 24), alone, strict=True):
        assert ours is not None and torch.equal(ours, wanted)


def test_nothing_in_sight_is_an_empty_picture() -> None:
    parts = scene(2, 16)
    parts["opacities"] = torch.zeros_like(parts["opacities"])
    rgb, alpha, depth = drawn(parts, 20, 18, depth=False)
    assert depth is None and rgb.abs().max() == 0 and alpha.abs().max() == 0
