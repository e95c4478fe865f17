"""The GPU's path against its plain twin; without a GPU in Triton's interpreter, with the reference rasterizer."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton", reason="Triton is not installed (it comes with PyTorch's CUDA builds)")
if torch.cuda.is_available():
    pytest.importorskip("gsplat", reason="gsplat is not installed (pip install 'being[gpu]')")

from dataclasses import replace

import numpy as np

from being.avatar.library import Library
from being.inference.backends.gpu import GpuBackend
from being.inference.backends.gpu_planes import planes, try_out
from being.inference.backends.torch import TorchBackend
from being.inference.compositing import Colour, Transparent
from being.inference.frames import Drive, Extras, PixelFormat
from being.inference.renderable import RenderableAvatar
from being.inference.yuv import rgb_to_yuv420
from being.model.gpu.deformation import SplatRows
from being.raster import Cameras, Splats, rasterize

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def plainly(
    splats: SplatRows, cameras: torch.Tensor, width: int, height: int, depth: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    rows = len(cameras)
    flat = Splats(
        *(part.flatten(0, 1) for part in splats.parts), offsets=tuple(row * splats.length for row in range(rows + 1))
    )
    intrinsics = torch.stack([cameras[:, 0, 0], cameras[:, 1, 1], cameras[:, 0, 2], cameras[:, 1, 2]], 1)
    view = torch.eye(3, 4, device=cameras.device).expand(rows, 3, 4)
    raster = rasterize(flat, Cameras(view, intrinsics, width, height))
    return raster.rgb, raster.alpha, raster.depth if depth else None


@pytest.fixture(scope="module")
def renderables() -> list[RenderableAvatar]:
    """Twice the demo, with an eighth and a tenth of its Gaussians: rows of two lengths."""
    found = []
    for step in (8, 10):
        renderable = RenderableAvatar(Library().load("demo"), DEVICE)
        tensors = renderable.gaussians.tensors()
        renderable.gaussians = type(renderable.gaussians)(
            **{name: value[::step].contiguous() for name, value in tensors.items()}
        )
        found.append(renderable)
    return found


def drive(renderable: RenderableAvatar, frame: int, side: int) -> Drive:
    motion, config = renderable.avatar.motion, renderable.network.config
    sound = np.random.default_rng(frame).random(
        (config.audio_frames, config.audio_window, config.audio_width), np.float32
    )
    poses = (motion.head_pose[frame], motion.torso_pose[frame])
    return Drive("demo", sound, float(motion.eye[frame]), *poses, width=side, height=side)


def test_the_kernels_can_be_tried_out() -> None:
    try_out(DEVICE)


@pytest.mark.parametrize("pixel_format", [PixelFormat.RGB, PixelFormat.YUV420])
@pytest.mark.parametrize("depth", [False, True])
def test_mixed_items_are_the_twin_s(
    renderables: list[RenderableAvatar], pixel_format: PixelFormat, depth: bool
) -> None:
    one, other = renderables
    extras = Extras.ALPHA | Extras.DEPTH if depth else Extras.ALPHA
    items = [
        (one, drive(one, 0, 48)),
        (one, replace(drive(one, 20, 48), background=Colour(0, 90, 200))),
        (one, replace(drive(one, 50, 48), background=Transparent())),
        (other, drive(other, 10, 48)),
    ]
    items = [(renderable, replace(given, extras=extras)) for renderable, given in items]
    ours = GpuBackend(DEVICE, None if DEVICE.type == "cuda" else plainly).render(items, pixel_format)
    theirs = TorchBackend().render(items, PixelFormat.RGB)
    assert ours.pixel_format is pixel_format and (ours.depth is None) == (not depth)
    for row in range(len(items)):
        picture = theirs.pixels[row].cpu().numpy()
        picture = rgb_to_yuv420(picture) if pixel_format is PixelFormat.YUV420 else picture
        difference = np.abs(ours.pixels[row].cpu().numpy().astype(int) - picture)
        covered = theirs.alpha[row].cpu().numpy() > 25  # below, a rounding of the coverage is a step of straight colour
        if ours.clear[row]:
            difference = difference[covered] if pixel_format is PixelFormat.RGB else difference[:1]
        assert difference.max() <= 2 and difference.mean() < 0.3
        assert (ours.alpha[row].int() - theirs.alpha[row].int()).abs().max() <= 2


def test_planes_are_within_a_level_of_the_cpu_s() -> None:
    torch.manual_seed(0)
    width, height = 34, 22
    rgb, alpha = torch.rand(3, height, width, 3), torch.rand(3, height, width)
    rgb = rgb * alpha[..., None] * 1.1  # some brighter than white
    backdrops = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8)
    which = torch.tensor([1, 0, 1], dtype=torch.int32)
    pictures, coverage = (
        part.cpu().numpy() for part in planes(*(part.to(DEVICE) for part in (rgb, alpha, backdrops, which)))
    )
    for row in range(3):
        over = rgb[row] + (1 - alpha[row][..., None]) * (backdrops[which[row]].float() / 255)
        wanted = rgb_to_yuv420((over.clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy())
        assert np.abs(pictures[row].astype(int) - wanted).max() <= 1
        assert np.abs(coverage[row].astype(int) - (alpha[row] * 255).round().numpy()).max() <= 1
