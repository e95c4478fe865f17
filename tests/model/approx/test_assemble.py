"""The posing kernel against its PyTorch twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.fast_scene import COUNT, exact_offsets, scene
from support.model_parts import pose

from being.model import Offsets, assemble
from being.model.approx import CanonicalBlocks, SplatArrays, assemble_numpy, make_deformer, offset_buffer
from being.model.approx.assemble import assemble_on_screen
from being.raster import Cameras, rasterize
from being.raster.contract import scaled_low_pass
from being.raster.cpu.picture import Backdrop, PictureRenderer, ScreenSplats
from being.raster.cpu.screen import NOT_DRAWN, camera_array


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("size", "scale"), [((64, 64), 1.0), ((51, 37), 1.0), ((64, 64), 0.4), ((51, 37), 2.0)])
def test_picture_matches_the_reference_rasterizer(threads: int, size: tuple[int, int], scale: float) -> None:
    """Pose, project, list, blend and finish, against PyTorch."""
    made, (width, height) = scene(), size
    exact = torch.from_numpy(exact_offsets(made, made.held_out[:1]))
    offsets = Offsets(
        exact[..., :3], exact[..., 3:6], exact[..., 6:10], exact[..., 10], exact[..., 11:].unflatten(-1, (16, 3))
    )
    deformer = make_deformer("full", made.network, made.gaussians)
    canonical = CanonicalBlocks.of(made.gaussians, deformer)
    blocks = deformer(made.held_out[0], offset_buffer(deformer))
    background = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    intrinsics = np.array([1.3 * width, 1.4 * width, 0.45 * width, 0.6 * height], np.float32)
    for head, torso in ((pose(1), pose(2)), (pose(5), pose(5))):
        low_pass = torch.tensor([scaled_low_pass(scale)])
        cameras = Cameras(torch.eye(3, 4)[None], torch.from_numpy(intrinsics)[None], width, height, low_pass)
        raster = rasterize(assemble(made.gaussians, offsets, head[None], torso[None]), cameras, backend="reference")
        over = raster.rgb[0] * 255 + (1 - raster.alpha[0, ..., None]) * torch.from_numpy(background)
        wanted = over.clamp(0, 255).numpy()
        camera = camera_array(intrinsics, width, height, scaled_low_pass(scale))
        splats = ScreenSplats.empty(COUNT)
        assemble_on_screen(canonical, blocks, head.numpy(), torso.numpy(), camera, splats, threads)
        assert (splats.depths < NOT_DRAWN).sum() > 0
        picture, alpha = PictureRenderer(threads).draw(splats, Backdrop.of(background))
        error = np.abs(picture - wanted)
        assert error.max() < 2 and error.mean() < 0.35  # rounding alone makes 0.25
        assert np.abs(alpha / 255 - raster.alpha[0].numpy()).max() < 0.008


@pytest.mark.parametrize("threads", [1, 3])
def test_matches_torch(threads: int) -> None:
    made = scene()
    exact = torch.from_numpy(exact_offsets(made, made.held_out[:1]))
    offsets = Offsets(
        exact[..., :3], exact[..., 3:6], exact[..., 6:10], exact[..., 10], exact[..., 11:].unflatten(-1, (16, 3))
    )
    for head, torso in ((pose(1), pose(2)), (pose(5), pose(5))):
        wanted = assemble(made.gaussians, offsets, head[None], torso[None])
        deformer = make_deformer("full", made.network, made.gaussians)
        canonical = CanonicalBlocks.of(made.gaussians, deformer)
        blocks = deformer(made.held_out[0], offset_buffer(deformer))
        splats = assemble_numpy(canonical, blocks, head.numpy(), torso.numpy(), SplatArrays.empty(COUNT), threads)
        for name in ("means", "quats", "scales", "opacities", "colors"):
            np.testing.assert_allclose(
                getattr(splats, name), getattr(wanted, name).numpy(), atol=1e-5, rtol=1e-5, err_msg=name
            )
