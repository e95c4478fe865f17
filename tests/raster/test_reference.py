"""The reference against closed forms, finite differences and itself."""

from __future__ import annotations

import math

import pytest
import torch
from support.raster_scenes import NAMES, camera, cloud, draw
from torch import Tensor

from being.raster import Cameras, Raster, Splats, rasterize, reference

FOCAL, SIZE = 40.0, 21


def ahead(z: list[float], opacity: list[float], color: list[float], scale: float = 0.1) -> Raster:
    """Round splats on the axis of a camera whose middle pixel looks along it."""
    count = len(z)
    splats = Splats(
        means=torch.tensor([[0.0, 0.0, depth] for depth in z], dtype=torch.float64),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64).expand(count, 4),
        scales=torch.full((count, 3), scale, dtype=torch.float64),
        opacities=torch.tensor(opacity, dtype=torch.float64),
        colors=torch.tensor(color, dtype=torch.float64)[:, None].expand(count, 3),
        offsets=(0, count),
    )
    view = torch.eye(3, 4, dtype=torch.float64)[None]
    intrinsics = torch.tensor([[FOCAL, FOCAL, SIZE / 2, SIZE / 2]], dtype=torch.float64)
    return rasterize(splats, Cameras(view, intrinsics, SIZE, SIZE), backend="reference")


def test_one_round_splat_is_the_closed_form() -> None:
    raster = ahead([2.0], [0.8], [0.5])
    variance = (FOCAL * 0.1 / 2.0) ** 2 + 0.3
    steps = torch.arange(SIZE, dtype=torch.float64) - SIZE // 2
    alpha = 0.8 * torch.exp(-0.5 * (steps[:, None] ** 2 + steps[None] ** 2) / variance)
    alpha = torch.where(alpha >= 1 / 255, alpha, 0.0)
    torch.testing.assert_close(raster.alpha[0], alpha)
    torch.testing.assert_close(raster.rgb[0], 0.5 * alpha[..., None].expand(-1, -1, 3))
    torch.testing.assert_close(raster.depth[0], 2.0 * alpha)
    assert raster.radii.item() == pytest.approx(math.sqrt(2 * math.log(255 * 0.8) * variance))


def test_near_splats_hide_far_ones_in_any_order() -> None:
    middle = SIZE // 2
    for z, opacity, color in (([2.0, 3.0], [0.6, 0.9], [1.0, 0.2]), ([3.0, 2.0], [0.9, 0.6], [0.2, 1.0])):
        raster = ahead(z, opacity, color)
        assert raster.rgb[0, middle, middle, 0].item() == pytest.approx(0.6 * 1.0 + 0.4 * 0.9 * 0.2)
        assert raster.depth[0, middle, middle].item() == pytest.approx(0.6 * 2.0 + 0.4 * 0.9 * 3.0)


def test_alpha_is_capped_and_the_splat_that_would_close_a_pixel_is_left_out() -> None:
    middle = SIZE // 2
    assert ahead([2.0], [0.9999], [1.0]).alpha[0, middle, middle].item() == pytest.approx(0.99)
    # 0.01 then 0.0001 of the light is left after one and two: not under the limit, so three would close the pixel.
    raster = ahead([2.0, 3.0, 4.0], [0.9899, 0.9899, 0.5], [1.0, 1.0, 9.0])
    left = (1 - 0.9899) ** 2
    assert left * 0.5 < 1e-4 <= left
    assert raster.alpha[0, middle, middle].item() == pytest.approx(1 - left)


@pytest.mark.parametrize(
    ("mean", "opacity", "drawn"),
    [
        ((0.0, 0.0, 2.0), 0.5, True),
        ((0.0, 0.0, 0.19), 0.5, False),
        ((0.0, 0.0, -2.0), 0.5, False),
        ((9.0, 0.0, 2.0), 0.5, False),
        ((0.0, 0.0, 2.0), 0.0039, False),
        ((0.0, 0.0, float("nan")), 0.5, False),
        ((0.0, 0.0, 2.0), float("nan"), False),
    ],
)
def test_what_is_not_seen_is_not_drawn(mean: tuple[float, ...], opacity: float, drawn: bool) -> None:
    splats = Splats(
        means=torch.tensor([mean]),
        quats=torch.tensor([[2.0, 0.0, 0.0, 0.0]]),
        scales=torch.full((1, 3), 0.1),
        opacities=torch.tensor([opacity]),
        colors=torch.ones(1, 3),
        offsets=(0, 1),
    )
    cameras = Cameras(torch.eye(3, 4)[None], torch.tensor([[FOCAL, FOCAL, 10.0, 10.0]]), 20, 20)
    for backend in ("reference", "numba"):
        raster = rasterize(splats, cameras, backend=backend)
        assert (raster.alpha.max().item() > 0) is drawn
        assert (raster.radii.item() > 0) is drawn


def test_gradients_are_those_of_finite_differences() -> None:
    splats, (view, intrinsics) = cloud(12, seed=3), camera(15, 11)
    cameras = Cameras(view, intrinsics, 15, 11)

    def pictures(*leaves: Tensor) -> tuple[Tensor, ...]:
        values = dict(zip(NAMES, leaves[:5], strict=True))
        raster = rasterize(Splats(**values, offsets=(0, 12)), cameras, probe=leaves[5], backend="reference")
        return raster.rgb, raster.alpha, raster.depth

    leaves = [splats[name].clone().requires_grad_() for name in NAMES]
    leaves.append(torch.zeros(12, 2, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(pictures, leaves, eps=1e-7, atol=1e-4, rtol=1e-3, fast_mode=True)


def test_tiles_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    splats, (view, intrinsics) = cloud(200, seed=1), camera(70, 50)
    tiled = draw(splats, (0, 200), view, intrinsics, (70, 50), "reference", torch.float64)
    monkeypatch.setattr(reference, "TILE", 128)
    whole = draw(splats, (0, 200), view, intrinsics, (70, 50), "reference", torch.float64)
    torch.testing.assert_close(tiled[0].rgb, whole[0].rgb)
    torch.testing.assert_close(tiled[1]["means"], whole[1]["means"])
