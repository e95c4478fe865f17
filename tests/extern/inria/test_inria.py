"""The inria backend against a stand-in with the published call interface, and the spacing of points.

The package itself needs CUDA and a licence, so it cannot run here. The stand-in reads the camera back out of the
matrices it is given, as the package's kernels do, and draws by our reference: a matrix that is not transposed, a
principal point left out or a gradient of the wrong unit would show.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from being.extern.inria import neighbour_spacing
from torch import Tensor

from being.errors import BeingError, InputError
from being.raster import Cameras, Splats, rasterize
from being.raster import inria as inria_backend

WIDTH, HEIGHT = 24, 16


class Settings(NamedTuple):
    image_height: int
    image_width: int
    tanfovx: float
    tanfovy: float
    bg: Tensor
    scale_modifier: float
    viewmatrix: Tensor
    projmatrix: Tensor
    sh_degree: int
    campos: Tensor
    prefiltered: bool
    debug: bool


class Rasterizer:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __call__(self, **given: Tensor) -> tuple[Tensor, Tensor]:
        s = self.settings
        world = s.viewmatrix.T
        project = (s.projmatrix.T.double() @ torch.linalg.inv(world.double())).float()
        fx, cx = project[0, 0] * s.image_width / 2, (project[0, 2] + 1) * s.image_width / 2
        fy, cy = project[1, 1] * s.image_height / 2, (project[1, 2] + 1) * s.image_height / 2
        assert s.tanfovx == pytest.approx(s.image_width / (2 * float(fx)), rel=1e-4)
        assert s.tanfovy == pytest.approx(s.image_height / (2 * float(fy)), rel=1e-4)
        torch.testing.assert_close(world[:3, :3] @ s.campos + world[:3, 3], torch.zeros(3), atol=1e-5, rtol=0)
        norms = given["rotations"].norm(dim=-1)
        torch.testing.assert_close(norms, torch.ones_like(norms))
        splats = Splats(
            given["means3D"], given["rotations"], given["scales"], given["opacities"][:, 0], given["colors_precomp"],
            (0, len(given["means3D"])),
        )  # fmt: skip
        cameras = Cameras(world[None, :3], torch.stack([fx, fy, cx, cy])[None], s.image_width, s.image_height)
        # Its coordinates run over -1..1: half a picture is one.
        pixels = given["means2D"][:, :2] * torch.tensor([s.image_width / 2, s.image_height / 2])
        drawn = rasterize(splats, cameras, probe=pixels, backend="reference")
        return drawn.rgb[0].permute(2, 0, 1), drawn.radii.ceil().int()


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module: Any = ModuleType("diff_gaussian_rasterization")
    module.GaussianRasterizationSettings, module.GaussianRasterizer = Settings, Rasterizer
    monkeypatch.setitem(sys.modules, "diff_gaussian_rasterization", module)
    monkeypatch.setattr(inria_backend, "DEVICES", ("cpu",))
    return module


def scene() -> tuple[Splats, Cameras]:
    dice = torch.Generator().manual_seed(2)
    count = 30
    splats = Splats(
        means=0.5 * torch.randn(count, 3, generator=dice),
        quats=torch.randn(count, 4, generator=dice),
        scales=0.05 + 0.2 * torch.rand(count, 3, generator=dice),
        opacities=0.2 + 0.7 * torch.rand(count, generator=dice),
        colors=torch.rand(count, 3, generator=dice),
        offsets=(0, 18, 18, count),
    )
    turn = torch.linalg.qr(torch.randn(3, 3, 3, generator=dice)).Q
    turn = turn * turn.det()[:, None, None]
    view = torch.cat([turn, torch.tensor([[[0.1], [-0.2], [5.0]]]).expand(3, 3, 1)], dim=2)
    intrinsics = torch.tensor([[40.0, 42, 13, 7]]).expand(3, 4)
    return splats, Cameras(view, intrinsics, WIDTH, HEIGHT)


def gradients(backend: str) -> tuple[Any, dict[str, Tensor]]:
    splats, cameras = scene()
    names = ("means", "quats", "scales", "opacities", "colors")
    leaves = {name: getattr(splats, name).clone().requires_grad_() for name in names}
    leaves["probe"] = torch.zeros(splats.count, 2, requires_grad=True)
    own = Splats(*(leaves[name] for name in names), splats.offsets)
    drawn = rasterize(own, cameras, probe=leaves["probe"], backend=backend)
    weight = torch.linspace(0.2, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    loss = (weight[..., None] * drawn.rgb).sum() + (weight * drawn.alpha).sum() + 0.3 * (weight * drawn.depth).sum()
    loss.backward()
    return drawn, {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}


def test_it_draws_what_the_reference_draws(package: ModuleType) -> None:
    ours, ours_back = gradients("inria")
    reference, reference_back = gradients("reference")
    assert float(reference.alpha.detach().amax()) > 0.5 and not ours.alpha[1].any()  # the second image has no splat
    for name in ("rgb", "alpha", "depth"):
        torch.testing.assert_close(getattr(ours, name), getattr(reference, name), atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(ours.radii, reference.radii.ceil())
    assert set(ours_back) == set(reference_back) and "probe" in ours_back
    for name, value in reference_back.items():
        torch.testing.assert_close(ours_back[name], value, atol=1e-4 * float(value.abs().amax()), rtol=1e-3, msg=name)


def test_splats_of_bad_numbers_are_not_drawn(package: ModuleType) -> None:
    splats, cameras = scene()
    clean = rasterize(splats, cameras, backend="inria")
    splats.means[3] = float("nan")
    splats.quats[20] = 0
    drawn = rasterize(splats, cameras, backend="inria")
    assert bool(drawn.rgb.isfinite().all()) and float(drawn.radii[3]) == float(drawn.radii[20]) == 0
    assert float(clean.radii[3]) > 0


def test_relatives_with_another_interface_are_named(package: Any) -> None:
    package.GaussianRasterizationSettings = NamedTuple("Other", [("image_height", int), ("kernel_size", float)])
    with pytest.raises(BeingError, match=r"kernel_size.*extern/inria/README"):
        rasterize(*scene(), backend="inria")


def test_without_the_package_or_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diff_gaussian_rasterization", None)
    with pytest.raises(BeingError, match=r"research licence.*extern/inria/README"):
        rasterize(*scene(), backend="inria")
    monkeypatch.setitem(sys.modules, "diff_gaussian_rasterization", SimpleNamespace())
    with pytest.raises(InputError, match="CUDA"):
        rasterize(*scene(), backend="inria")


def test_spacing_of_a_grid() -> None:
    axis = 0.25 * np.arange(5.0)
    grid = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
    np.testing.assert_allclose(neighbour_spacing(grid), 0.25)
    np.testing.assert_allclose(neighbour_spacing(grid[:2]), 0.25)
