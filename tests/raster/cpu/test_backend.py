"""The numba backend against the float64 reference: values and gradients, everywhere a splat can be."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from support.raster_scenes import NAMES, assert_same, camera, cloud, draw
from torch import Tensor

from being.errors import InputError
from being.raster import Cameras, Splats, rasterize
from being.raster.cpu import forward as numba_forward
from being.raster.cpu.autograd import rasterize_numba
from being.raster.cpu.backend import NumbaRenderer, thread_renderer
from being.raster.cpu.jit import exp2_above_min_alpha
from being.raster.cpu.warmup import warmup


def compare(splats: dict[str, Tensor], width: int, height: int, **tolerances: float) -> None:
    view, intrinsics = camera(width, height)
    scene = (splats, (0, len(splats["means"])), view, intrinsics, (width, height))
    assert_same(draw(*scene, "numba"), draw(*scene, "reference", torch.float64), **tolerances)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (37, 61), (61, 37), (8, 16), (1, 1), (3, 100)])
def test_agrees_at_any_size(width: int, height: int) -> None:
    compare(cloud(400, seed=width), width, height, gradient_error=2e-3)


def test_agrees_on_a_dense_scene_where_pixels_close() -> None:
    splats = cloud(3000, seed=5)
    splats["scales"] *= 2.0
    splats["opacities"] = 0.5 + 0.5 * splats["opacities"]
    compare(splats, 48, 40, gradient_error=2e-3)


def test_agrees_on_tiny_splats() -> None:
    splats = cloud(500, seed=2)
    splats["scales"] *= 1e-4
    compare(splats, 50, 50)


def test_agrees_on_huge_splats() -> None:
    splats = cloud(60, seed=2)
    splats["scales"] *= 100.0
    compare(splats, 50, 50, gradient_error=1e-3)


def test_agrees_on_needles() -> None:
    splats = cloud(300, seed=4)
    splats["scales"] = splats["scales"] * torch.tensor([20.0, 0.01, 0.01])
    compare(splats, 64, 48, value_error=1e-4, gradient_error=1e-3)


@pytest.mark.parametrize("opacity", [0.0, 1.0 / 255.0 + 1e-6, 0.985, 0.9999, 1.0])
def test_agrees_at_extreme_opacities(opacity: float) -> None:
    splats = cloud(100, seed=6)
    splats["opacities"] = torch.full_like(splats["opacities"], opacity)
    compare(splats, 40, 30, gradient_error=2e-3)


def test_agrees_on_splats_behind_and_beside_the_camera() -> None:
    splats = cloud(500, seed=8)
    splats["means"] *= torch.tensor([4.0, 4.0, -1.0])
    splats["means"][:250, 2] *= -0.2
    compare(splats, 40, 30, gradient_error=1e-3)


def test_agrees_on_a_ragged_batch_with_empty_images() -> None:
    splats, (view, intrinsics) = cloud(350, seed=9), camera(45, 33)
    views = view.repeat(5, 1, 1)
    views[:, 0, 3] += torch.linspace(-0.5, 0.5, 5, dtype=torch.float64)
    scene = (splats, (0, 0, 200, 200, 350, 350), views, intrinsics.repeat(5, 1), (45, 33))
    drawn = draw(*scene, "numba")
    assert_same(drawn, draw(*scene, "reference", torch.float64), gradient_error=1e-3)
    assert drawn[0].alpha[0].max() == 0 and drawn[0].alpha[1].max() > 0


@pytest.mark.parametrize("backend", ["reference", "numba"])
def test_nothing_to_draw_is_an_empty_picture(backend: str) -> None:
    splats, (view, intrinsics) = cloud(0), camera(20, 10)
    raster, _ = draw(splats, (0, 0), view, intrinsics, (20, 10), backend)
    assert raster.rgb.shape == (1, 10, 20, 3) and raster.rgb.abs().max() == 0 and raster.alpha.max() == 0
    raster = rasterize(
        Splats(**{name: splats[name].float() for name in NAMES}, offsets=(0,)),
        Cameras(torch.zeros(0, 3, 4), torch.zeros(0, 4), 20, 10),
        backend=backend,
    )
    assert raster.rgb.shape == (0, 10, 20, 3) and raster.radii.shape == (0,)


def test_bad_numbers_draw_nothing_and_hurt_nobody() -> None:
    splats, (view, intrinsics) = cloud(200, seed=11), camera(40, 30)
    good = draw(splats, (0, 200), view, intrinsics, (40, 30), "numba")[0]
    bad = {name: torch.cat([values, values[:60]]) for name, values in splats.items()}
    for row, (name, value) in enumerate((n, v) for n in NAMES for v in (float("nan"), float("inf"), 1e38, -1e38)):
        if (name == "colors" and abs(value) == 1e38) or (name == "opacities" and value < 0):
            value = float("nan")
        bad[name][200 + row] = value
    bad["quats"][220:240] = 0.0
    bad["scales"][240:260] = float("inf")
    raster, gradients = draw(bad, (0, 260), view, intrinsics, (40, 30), "numba")
    odd_quats = slice(204, 208)  # a quaternion of equal parts is a rotation, however large, until it overflows
    assert raster.radii[200:204].max() == 0 and raster.radii[odd_quats].max() == 0 and raster.radii[208:].max() == 0
    assert torch.equal(raster.rgb, good.rgb)
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())


def test_probe_moves_the_picture_and_only_probes_need_gradients() -> None:
    splats, (view, intrinsics) = cloud(100, seed=12), camera(40, 30)
    still = Splats(**{name: splats[name].float() for name in NAMES}, offsets=(0, 100))
    cameras = Cameras(view.float(), intrinsics.float(), 40, 30)
    moved = Cameras(view.float(), intrinsics.float() + torch.tensor([0.0, 0.0, 3.0, 2.0]), 40, 30)
    probe = torch.tensor([3.0, 2.0]).repeat(100, 1).requires_grad_()
    raster = rasterize(still, cameras, probe=probe, backend="numba")
    # Shifting the principal point also shifts where the Jacobian is clamped, which these splats do not reach.
    inside = rasterize(still, moved, backend="numba").rgb[:, 5:25, 5:35]
    assert (raster.rgb[:, 5:25, 5:35] - inside).abs().quantile(0.9) < 1e-4
    raster.rgb.sum().backward()
    assert probe.grad is not None and probe.grad.abs().max() > 0


def test_gradients_can_be_taken_twice_and_none_are_kept_without_need() -> None:
    splats, (view, intrinsics) = cloud(100, seed=13), camera(40, 30)
    means = splats["means"].float().requires_grad_()
    scene = Splats(means, *(splats[name].float() for name in NAMES[1:]), offsets=(0, 100))
    cameras = Cameras(view.float(), intrinsics.float(), 40, 30)
    raster = rasterize_numba(scene, cameras)
    rasterize_numba(scene, cameras).rgb.sum()  # a second picture in between must not disturb the first one's lists
    (first,) = torch.autograd.grad(raster.rgb.sum(), means, retain_graph=True)
    (second,) = torch.autograd.grad(raster.rgb.sum(), means)
    assert torch.equal(first, second)  # whatever the threads did: a training run repeats bit for bit
    with torch.no_grad():
        assert not rasterize_numba(scene, cameras).rgb.requires_grad


def arrays(splats: dict[str, Tensor], width: int, height: int) -> list[np.ndarray]:
    view, intrinsics = camera(width, height)
    tensors = [*(splats[name] for name in NAMES), view[0], intrinsics[0]]
    return [tensor.float().numpy() for tensor in tensors]


def test_numpy_path_draws_what_the_torch_path_draws() -> None:
    splats, (view, intrinsics) = cloud(300, seed=14), camera(45, 33)
    raster, _ = draw(splats, (0, 300), view, intrinsics, (45, 33), "numba")
    out = (np.empty((33, 45, 3), np.float32), np.empty((33, 45), np.float32), np.empty((33, 45), np.float32))
    rgb, alpha, depth = thread_renderer().render(*arrays(splats, 45, 33), 45, 33, out=out)
    assert rgb is out[0]
    for value, expected in ((rgb, raster.rgb), (alpha, raster.alpha), (depth, raster.depth)):
        np.testing.assert_array_equal(value, expected[0].detach().numpy())

    background = np.random.default_rng(0).integers(0, 256, (33, 45, 3), np.uint8)
    picture, coverage = thread_renderer().render_over(*arrays(splats, 45, 33), background)
    expected = np.minimum(rgb * 255 + (1 - alpha)[..., None] * background, 255)
    assert np.abs(picture - expected).max() <= 0.8  # half a step of rounding, a quarter for stopping early
    assert np.abs(coverage - alpha * 255).max() <= 0.8


def test_buffers_grow_with_the_scene() -> None:
    renderer = NumbaRenderer(threads=2)
    small, large = cloud(50, seed=15), cloud(4000, seed=16)
    before = [picture.copy() for picture in renderer.render(*arrays(small, 64, 64), 64, 64)]
    large["scales"] *= 30.0  # every splat covers every tile: far more pairs than a first guess makes room for
    covered = renderer.render(*arrays(large, 200, 120), 200, 120)[1]
    assert covered.min() > 0.9
    for value, expected in zip(renderer.render(*arrays(small, 64, 64), 64, 64), before, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_every_number_of_threads_draws_the_same() -> None:
    scene = arrays(cloud(500, seed=17), 90, 70)
    expected = NumbaRenderer(threads=1).render(*scene, 90, 70)
    for threads in (2, 3, 5):
        for value, truth in zip(NumbaRenderer(threads).render(*scene, 90, 70), expected, strict=True):
            np.testing.assert_array_equal(value, truth)


def test_python_threads_draw_at_the_same_time() -> None:
    scenes = [arrays(cloud(300, seed=20 + i), 60, 50) for i in range(4)]
    expected = [NumbaRenderer(1).render(*scene, 60, 50)[0] for scene in scenes]
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda i: thread_renderer().render(*scenes[i % 4], 60, 50)[0], range(80)))
    for i, picture in enumerate(drawn):
        np.testing.assert_array_equal(picture, expected[i % 4])


def test_odd_arrays_are_not_compiled_for_again() -> None:
    renderer, scene = NumbaRenderer(1), arrays(cloud(30), 20, 20)
    expected = renderer.render(*scene, 20, 20)[0]
    compiled = len(numba_forward.project.signatures)
    odd = [np.asfortranarray(array.astype(np.float64)) for array in scene]
    for array in odd:
        array.setflags(write=False)
    np.testing.assert_array_equal(renderer.render(*odd, 20, 20)[0], expected)
    assert len(numba_forward.project.signatures) == compiled == 1


def test_warmup_reports_its_steps() -> None:
    steps: list[tuple[int, int]] = []
    warmup(lambda what, done, total: steps.append((done, total)), training=True)
    assert steps == [(i, 4) for i in range(5)]


def test_fast_power_is_accurate() -> None:
    powers = np.linspace(-8.0, 0.0, 2001, dtype=np.float32)
    values = np.array([exp2_above_min_alpha(power) for power in powers])
    np.testing.assert_allclose(values, np.exp2(powers.astype(np.float64)), rtol=2.5e-6)
    assert exp2_above_min_alpha(np.float32(-1e9)) < 1 / 255


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_draws_in_a_forked_process() -> None:
    import os

    scene = arrays(cloud(100, seed=30), 40, 40)
    renderer = NumbaRenderer(2)
    expected = renderer.render(*scene, 40, 40)[0]
    child = os.fork()
    if child == 0:
        same = np.array_equal(renderer.render(*scene, 40, 40)[0], expected)
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_wrong_shapes_are_refused() -> None:
    scene = arrays(cloud(10), 20, 20)
    with pytest.raises(InputError, match="quats has shape"):
        NumbaRenderer(1).render(scene[0], scene[1][:, :3], *scene[2:], 20, 20)
    with pytest.raises(InputError, match="background"):
        NumbaRenderer(1).render_over(*scene, np.zeros((20, 20), np.uint8))
    with pytest.raises(InputError, match="out holds"):
        blank = np.empty((20, 20), np.float32)
        NumbaRenderer(1).render(*scene, 20, 20, out=(np.empty((20, 19, 3), np.float32), blank, blank.copy()))
    with pytest.raises(InputError, match="0x20"):
        NumbaRenderer(1).render(*scene, 0, 20)
