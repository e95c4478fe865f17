"""The GPU's path against its plain twin; without a GPU in Triton's interpreter."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton", reason="Triton is not installed (it comes with PyTorch's CUDA builds)")

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from being.avatar.library import Library
from being.inference.backends.gpu import GpuBackend
from being.inference.backends.gpu_pipeline import batch_size
from being.inference.backends.gpu_planes import planes, try_out
from being.inference.backends.torch import TorchBackend
from being.inference.compositing import Colour, Transparent
from being.inference.frames import Drive, Extras, PixelFormat
from being.inference.renderable import RenderableAvatar
from being.inference.yuv import rgb_to_yuv420

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="module")
def renderables() -> list[RenderableAvatar]:
    """Twice the demo, thinned: rows of two lengths."""
    found = []
    for step in (8, 10) if DEVICE.type == "cuda" else (160, 200):  # the interpreter is slow
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
    ours = GpuBackend(DEVICE).render(items, pixel_format)
    theirs = TorchBackend().render(items, PixelFormat.RGB)
    assert ours.pixel_format is pixel_format and (ours.depth is None) == (not depth)
    for row in range(len(items)):
        picture = theirs.pixels[row].cpu().numpy()
        picture = rgb_to_yuv420(picture) if pixel_format is PixelFormat.YUV420 else picture
        difference = np.abs(ours.pixels[row].cpu().numpy().astype(int) - picture)
        covered = theirs.alpha[row].cpu().numpy() > 25  # below, a rounding of the coverage is a step of straight colour
        if ours.clear[row]:
            difference = difference[covered] if pixel_format is PixelFormat.RGB else difference[:1]
        coverage = (ours.alpha[row].int() - theirs.alpha[row].int()).abs().cpu().numpy()
        for off in (difference, coverage):  # where a splat is at the cutoff of 1/255, it is there or not
            assert off.max() <= 8 and (off > 2).mean() < 0.003 and off.mean() < 0.3


def test_a_batch_that_was_filled_up_gives_what_its_frames_give_alone(renderables: list[RenderableAvatar]) -> None:
    one, other = renderables
    sizes = (5, 1, 3) if DEVICE.type == "cuda" else (5,)  # 6, 1 and 3 are drawn
    backend = GpuBackend(DEVICE)
    for count in sizes:
        items = [((one, other)[row % 2], drive((one, other)[row % 2], 7 * row, 32)) for row in range(count)]
        together = backend.render(items, PixelFormat.RGB)
        assert len(together) == len(together.pixels) == len(together.alpha) == count
        for row, item in enumerate(items):
            alone = GpuBackend(DEVICE).render([item], PixelFormat.RGB)
            assert torch.equal(together.pixels[row], alone.pixels[0])
            assert torch.equal(together.alpha[row], alone.alpha[0])


@pytest.mark.parametrize(("wanted", "drawn"), [(1, 1), (5, 6), (7, 8), (9, 12), (16, 16), (40, 40)])
def test_batches_are_of_few_sizes(wanted: int, drawn: int) -> None:
    assert batch_size(wanted) == drawn


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


needs_gpu = pytest.mark.skipif(DEVICE.type != "cuda", reason="CUDA graphs need a GPU")


@needs_gpu
def test_a_graph_draws_what_single_launches_draw(renderables: list[RenderableAvatar]) -> None:
    """To the bit: of other frames and other avatars than it was captured with, and after the memory has grown."""
    one, other = renderables
    batches = [
        [(one, drive(one, 0, 64)), (one, drive(one, 9, 64))],
        [(one, drive(one, 30, 64)), (other, drive(other, 40, 64))],
        [(other, drive(other, 50, 64)), (other, replace(drive(other, 60, 64), background=Colour(9, 9, 200)))],
        [(one, drive(one, index, 64)) for index in range(5)],
        [(one, drive(one, 70, 64)), (one, drive(one, 80, 64))],
        [(other, drive(other, 50, 64)), (one, drive(one, 60, 64))],
        [(one, drive(one, 30, 64)), (other, drive(other, 40, 64))],
    ]
    steady = GpuBackend(DEVICE)
    for items in batches:
        ours, fresh = (backend.render(items, PixelFormat.YUV420) for backend in (steady, GpuBackend(DEVICE)))
        assert torch.equal(ours.pixels, fresh.pixels) and torch.equal(ours.alpha, fresh.alpha)
        assert ours.pixels.float().std() > 1
    (pipeline,) = steady._pipelines.values()
    assert pipeline._can_capture and any(graph is not None for graph in pipeline._seen.values())


@needs_gpu
def test_what_stages_got_is_not_drawn_over(renderables: list[RenderableAvatar]) -> None:
    one, _ = renderables
    backend = GpuBackend(DEVICE)
    held = backend.render([(one, drive(one, 0, 64))])
    before = held.pixels.clone(), held.alpha.clone()
    for frame in (20, 40, 60):
        backend.render([(one, drive(one, frame, 64))])
    assert torch.equal(held.pixels, before[0]) and torch.equal(held.alpha, before[1])


@needs_gpu
def test_threads_get_their_own_frames(renderables: list[RenderableAvatar]) -> None:
    one, _ = renderables
    backend = GpuBackend(DEVICE)

    def drawn(frame: int) -> torch.Tensor:
        return backend.render([(one, drive(one, frame, 64))], PixelFormat.YUV420).pixels.clone()

    wanted = [drawn(frame) for frame in range(24)]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(drawn, [*range(24)] * 4))
    assert all(torch.equal(picture, wanted[index % 24]) for index, picture in enumerate(found))
