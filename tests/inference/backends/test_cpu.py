"""The compiled CPU path against its PyTorch twin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.tiny import make_tiny_avatar

from being.avatar.library import Library
from being.inference.backends.cpu import CpuBackend, cache_folder
from being.inference.compositing import Transparent
from being.inference.engine import Engine
from being.inference.frames import Drive, Extras, PixelFormat
from being.inference.renderable import BACKDROPS
from being.inference.yuv import rgb_to_yuv420

MOTION = make_tiny_avatar().motion


def drive(avatar: str = "tiny", frame: int = 0, **fields: object) -> Drive:
    context = np.random.default_rng(frame).normal(size=(8, 16, 32)).astype(np.float32)
    made = Drive(avatar, context, 0.3, MOTION.head_pose[frame], MOTION.torso_pose[frame], index=frame)
    return replace(made, **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def reference(tiny_folder: Path) -> Engine:
    return Engine(Library([tiny_folder]), device="cpu", fast="off")


def pixels(engine: Engine, drives: list[Drive]) -> np.ndarray:
    """(B, H, W, 3) as integers that can be subtracted."""
    records = engine.render(drives)
    assert all(record.error is None for record in records), records[0].error
    return np.stack([record.image for record in records if record.image is not None]).astype(int)


DEPTH = {"extras": Extras.ALPHA | Extras.DEPTH}
DRIVES = [drive("tiny", 0), drive("other", 3), drive("tiny", 9), drive("tiny", 20)]


@pytest.mark.parametrize("cores", [1, 2, 8])
def test_full_form_equals_the_reference(tiny_folder: Path, reference: Engine, cores: int) -> None:
    engine = Engine(Library([tiny_folder]), device="cpu", fast="full")
    engine.backend = CpuBackend("full", cores)  # not every machine has eight
    error = np.abs(pixels(engine, DRIVES) - pixels(reference, DRIVES))
    assert error.max() <= 2 and error.mean() < 0.01


@pytest.mark.parametrize("size", [(64, 64), (70, 46)])  # the second fills neither its tiles nor its bands
def test_planes_equal_those_of_the_reference(tiny_folder: Path, reference: Engine, size: tuple[int, int]) -> None:
    engine = Engine(Library([tiny_folder]), device="cpu", fast="full")
    for threads in (1, 2):
        engine.backend = CpuBackend("full", threads)
        asked = drive("tiny", 4, width=size[0], height=size[1])
        (found,), (expected,) = (
            engine.render([replace(asked, pixel_format=PixelFormat.YUV420)]),
            reference.render([asked]),
        )
        assert found.image is not None and expected.image is not None
        assert found.image.shape == (size[1] * 3 // 2, size[0])
        error = np.abs(found.image.astype(int) - rgb_to_yuv420(expected.image))
        assert error.max() <= 3 and error.mean() < 0.5  # the planes are not rounded to RGB on their way
        assert found.alpha is not None and expected.alpha is not None
        assert np.abs(found.alpha.astype(int) - expected.alpha).max() <= 1


def test_a_backdrop_is_laid_out_once() -> None:
    path, pixels = CpuBackend("full", 1), np.zeros((32, 40, 3), np.uint8)
    assert path._laid_out(pixels) is path._laid_out(pixels)
    assert path._laid_out(pixels) is not path._laid_out(pixels.copy())
    for _ in range(20):
        path._laid_out(pixels.copy())
    assert len(path._backdrops) <= BACKDROPS


def test_transparent_and_depth_equal_the_reference(tiny_folder: Path, reference: Engine) -> None:
    engine = Engine(Library([tiny_folder]), device="cpu", fast="full")
    for fields in ({"background": Transparent()}, DEPTH, {"background": Transparent(), **DEPTH}):
        (found,), (expected,) = (one.render([drive(**fields)]) for one in (engine, reference))
        assert found.alpha is not None and expected.alpha is not None
        assert np.abs(found.alpha.astype(int) - expected.alpha).max() <= 1
        assert found.image is not None and expected.image is not None
        solid = expected.alpha > 25  # below, a rounding of the coverage is a step of the straight colour
        assert np.abs(found.image.astype(int) - expected.image)[solid].max() <= 2
        if "extras" in fields:
            assert found.depth is not None and expected.depth is not None
            assert np.abs(found.depth - expected.depth)[solid].max() < 1e-3
            assert (found.depth[expected.alpha == 0] < 10).all()


@pytest.mark.parametrize("form", ["full", "pruned", "pca"])  # fitting distilled takes half a minute
def test_every_form_draws_nearly_the_same(tiny_folder: Path, reference: Engine, form: str) -> None:
    """On recorded conditions; how near is measured on trained avatars, here only that nothing is mixed up."""
    engine = Engine(Library([tiny_folder]), device="cpu", fast=form)  # type: ignore[arg-type]
    error = np.abs(pixels(engine, DRIVES) - pixels(reference, DRIVES))
    assert error.mean() < 3


def test_fitted_forms_are_kept(tiny_folder: Path) -> None:
    Engine(Library([tiny_folder]), device="cpu", fast="pca").prepare("tiny")
    assert {path.name for path in cache_folder("tiny").iterdir()} >= {"motion_stats.safetensors", "pca.safetensors"}


def test_auto_follows_the_manifest(tiny_folder: Path, tmp_path: Path) -> None:
    from being.avatar.folder import save_avatar

    avatar = make_tiny_avatar()
    lean = replace(avatar, manifest=avatar.manifest.model_copy(update={"approximation": "pca"}))
    save_avatar(lean, tmp_path / "tiny")
    auto = Engine(Library([tmp_path]), device="cpu")
    forced = Engine(Library([tiny_folder]), device="cpu", fast="pca")
    full = Engine(Library([tiny_folder]), device="cpu", fast="full")
    drives = [drive("tiny", 5)]
    assert np.array_equal(pixels(auto, drives), pixels(forced, drives))
    assert not np.array_equal(pixels(auto, drives), pixels(full, drives))


def test_warm_up_compiles_and_loads(tiny_folder: Path) -> None:
    engine = Engine(Library([tiny_folder]), device="cpu")
    engine.warm_up("other")
    assert engine.resident() == ["other"]
