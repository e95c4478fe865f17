"""Pictures larger and smaller than those that splats were trained on look like them, by every backend."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from support.raster_scenes import camera, cloud, relative_error

from being.errors import InputError
from being.raster import Cameras, Raster, Splats, rasterize
from being.raster.contract import LOW_PASS, scaled_low_pass

SIZE = 48
BACKENDS = [
    "numba",
    pytest.param(
        "gsplat",
        marks=pytest.mark.skipif(
            not torch.cuda.is_available() or importlib.util.find_spec("gsplat") is None,
            reason="needs a CUDA device and gsplat",
        ),
    ),
]


def seen(splats: dict[str, torch.Tensor], scale: float, filtered: bool, backend: str = "reference") -> Raster:
    """Two pictures `scale` times as large as the trained ones, whose second has other filters."""
    side = round(scale * SIZE)
    view, intrinsics = (part.repeat(2, *[1] * (part.dim() - 1)) for part in camera(SIZE, SIZE))
    dtype, device = (torch.float64, "cpu") if backend == "reference" else (torch.float32, "cpu")
    device = "cuda" if backend == "gsplat" else device
    count = len(splats["means"])
    parts = {name: part.repeat(2, *[1] * (part.dim() - 1)).to(device, dtype) for name, part in splats.items()}
    filters = [scaled_low_pass(scale), scaled_low_pass(2 * scale)]
    low_pass = torch.tensor(filters, dtype=torch.float64) if filtered else None
    cameras = Cameras(view.to(device, dtype), (intrinsics * scale).to(device, dtype), side, side, low_pass)
    return rasterize(Splats(**parts, offsets=(0, count, 2 * count)), cameras, backend=backend)


def thin(count: int, seed: int) -> dict[str, torch.Tensor]:
    """Splats of which many are thinner than a pixel, as trained ones are."""
    splats = cloud(count, seed)
    return splats | {"scales": splats["scales"] * torch.tensor([0.8, 0.1, 0.1])}


def psnr(some: torch.Tensor, others: torch.Tensor) -> float:
    return float(-10 * torch.log10((some - others).square().mean()))


@pytest.mark.parametrize(("scale", "gain"), [(0.5, 5.0), (1 / 3, 4.0)])
def test_smaller_pictures_are_the_average_of_what_was_trained(scale: float, gain: float) -> None:
    splats, by = thin(400, seed=1), round(1 / scale)
    full = seen(splats, 1.0, False).rgb[0]
    averaged = full.reshape(SIZE // by, by, SIZE // by, by, 3).mean((1, 3))
    plain, ours = (psnr(seen(splats, scale, filtered).rgb[0], averaged) for filtered in (False, True))
    assert ours > plain + gain, (plain, ours)


def test_larger_pictures_show_what_was_trained() -> None:
    splats = thin(400, seed=2)
    full = seen(splats, 1.0, False).rgb[0]
    plain, ours = (
        psnr(seen(splats, 3.0, filtered).rgb[0, 1::3, 1::3], full) for filtered in (False, True)
    )  # every third pixel's centre is a centre of the trained picture
    assert ours > 100 and plain < 40, (plain, ours)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scale", [0.4, 2.5])
def test_backends_filter_like_the_reference(backend: str, scale: float) -> None:
    splats = thin(300, seed=3)
    splats["opacities"] = splats["opacities"].clamp(max=0.985)
    truth, ours = seen(splats, scale, True), seen(splats, scale, True, backend)
    for name in ("rgb", "alpha", "depth"):
        assert relative_error(getattr(ours, name), getattr(truth, name)) < 1e-3, name


def test_the_trained_size_is_drawn_as_it_was_trained() -> None:
    assert scaled_low_pass(1.0) == (LOW_PASS, LOW_PASS)
    splats = thin(200, seed=5)
    for backend in ("reference", "numba"):
        plain, ours = seen(splats, 1.0, False, backend), seen(splats, 1.0, True, backend)
        assert torch.equal(plain.rgb[0], ours.rgb[0]) and not torch.equal(plain.rgb[1], ours.rgb[1])


def test_the_numba_backend_has_no_gradients_under_another_filter() -> None:
    splats = {name: part.float().requires_grad_() for name, part in thin(5, seed=0).items()}
    view, intrinsics = camera(8, 8)
    cameras = Cameras(view, intrinsics, 8, 8, torch.tensor([scaled_low_pass(0.5)]))
    with pytest.raises(InputError, match="no gradients"):
        rasterize(Splats(**splats, offsets=(0, 5)), cameras, backend="numba")
    with pytest.raises(InputError, match="low_pass has shape"):
        rasterize(Splats(**splats, offsets=(0, 5)), Cameras(view, intrinsics, 8, 8, torch.ones(2)), backend="numba")
