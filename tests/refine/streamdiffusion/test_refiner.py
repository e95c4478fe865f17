"""The refiner as the graph has it: from settings to refined crops, on a tiny diffusion model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("diffusers", reason="needs being[refine]")
pytest.importorskip("transformers", reason="needs being[refine]")
from support.tiny import make_tiny_avatar
from support.tiny_diffusion import make_controlnet, make_unet, save_diffusion

from being.avatar.folder import save_avatar
from being.avatar.library import Library
from being.errors import InputError, MissingDependencyError
from being.inference.engine import Engine
from being.inference.frames import Drive, Extras
from being.refine.contract import Conditions, CropRows, Refiner
from being.refine.load import load_refiner
from being.refine.settings import RefinerSettings
from being.refine.stage import RefineStage
from being.refine.streamdiffusion.package_step import installed

PACKAGE = pytest.mark.skipif(not installed(), reason="needs pip install --no-deps streamdiffusion==0.1.1")
LADDER = (249, 499, 999)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_diffusion(tmp_path_factory.mktemp("diffusion"))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("avatars")
    for seed, name in enumerate(("one", "two")):
        save_avatar(make_tiny_avatar(name, seed), folder / name)
    return Library([folder])


def load(model: Path, library: Library, **options: Any) -> Refiner:
    own = {"model": str(model), "autoencoder": str(model / "taesd"), "sizes": [64, 128], **options}
    return load_refiner(RefinerSettings(backend="streamdiffusion", device="cpu", options=own), library)


def rows_of(count: int, strength: float = 1.0, **columns: Any) -> CropRows:
    poses = np.tile(np.eye(3, 4, dtype=np.float32), (count, 1, 1))
    poses[:, 1:3, 1:3] *= -1
    poses[:, 2, 3] = 8 + 0.1 * np.arange(count)
    rows = CropRows(
        avatars=tuple(("one", "two")[row % 2] for row in range(count)),
        sessions=tuple(f"session{row}" for row in range(count)),
        generations=np.zeros(count, np.int64),
        indices=np.arange(count),
        head_poses=poses,
        windows=np.tile(np.array([100, 60, 164, 124], np.float32), (count, 1)),
        frame_size=(512, 384),
        strengths=np.full(count, strength, np.float32),
        seeds=np.array([row % 2 for row in range(count)], np.int64),
    )
    return replace(rows, **columns)


def crops_of(count: int, size: int = 64) -> tuple[torch.Tensor, Conditions]:
    generator = torch.Generator().manual_seed(0)
    crops = torch.rand(count, 3, size, size, generator=generator)
    depth = 8 + torch.rand(count, 1, size, size, generator=generator)
    return crops, Conditions(torch.ones(count, 1, size, size), depth)


@torch.inference_mode()
def refined(refiner: Refiner, rows: CropRows, crops: torch.Tensor | None = None, size: int = 64) -> torch.Tensor:
    made, conditions = crops_of(len(rows), size)
    return refiner.refine(made if crops is None else crops, conditions, rows).clone()


@pytest.mark.parametrize("through", ["direct", pytest.param("package", marks=PACKAGE)])
def test_rows_do_not_mix(model: Path, library: Library, through: str) -> None:
    refiner = load(model, library, through=through)
    rows, (crops, _) = rows_of(4), crops_of(4)
    before = refined(refiner, rows, crops)
    assert before.shape == crops.shape and before.dtype == torch.float32 and before.isfinite().all()
    crops[2] = 1 - crops[2]
    poses = rows.head_poses.copy()
    poses[2, 0, 3] = 0.3
    after = refined(refiner, replace(rows, head_poses=poses, avatars=("one", "two", "two", "two")), crops)
    for row in (0, 1, 3):
        assert torch.equal(before[row], after[row])
    assert not torch.equal(before[2], after[2])


@pytest.mark.parametrize("through", ["direct", pytest.param("package", marks=PACKAGE)])
def test_a_batch_is_what_its_rows_are_one_by_one(model: Path, library: Library, through: str) -> None:
    refiner = load(model, library, through=through, batches=[1, 2, 4], timesteps=LADDER)
    rows, (crops, conditions) = rows_of(7, strengths=np.array([1, 0.2, 0.5, 1, 0.5, 0.1, 0.3], np.float32)), crops_of(7)
    together = refined(refiner, rows, crops)
    for row in range(7):
        own = Conditions(conditions.alpha[row : row + 1])
        alone = refiner.refine(crops[row : row + 1], own, rows.take([row]))
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-4, rtol=0)


@PACKAGE
def test_both_ways_are_one_function(model: Path, library: Library) -> None:
    rows = rows_of(5, strengths=np.array([1, 0.2, 0.5, 1, 0.5], np.float32))
    one, two = (refined(load(model, library, through=way, timesteps=LADDER), rows) for way in ("direct", "package"))
    torch.testing.assert_close(one, two, atol=1e-4, rtol=0)


def test_strength_chooses_the_timestep_of_its_row(model: Path, library: Library) -> None:
    refiner = load(model, library, through="direct", timesteps=LADDER)
    assert refiner.fade == pytest.approx(1 / 3)
    rows = rows_of(3)
    least, low, high = (refined(refiner, replace(rows, strengths=np.full(3, s, np.float32))) for s in (0.1, 0.3, 1.0))
    mixed = refined(refiner, replace(rows, strengths=np.array([0.1, 1.0, 0.3], np.float32)))
    assert torch.equal(least, low)  # the stage blends them
    for row, expected in enumerate((low, high, low)):
        assert torch.equal(mixed[row], expected[row])
    assert (low - high).abs().max() > 1e-3


def test_a_still_frame_is_refined_the_same_each_time_and_in_each_session(model: Path, library: Library) -> None:
    refiner = load(model, library)
    rows = rows_of(2, avatars=("one", "one"), seeds=np.array([1, 1]), head_poses=rows_of(1).head_poses.repeat(2, 0))
    crops = crops_of(1)[0].repeat(2, 1, 1, 1)
    first = refined(refiner, rows, crops)
    refined(refiner, rows_of(4))
    assert torch.equal(first[0], first[1]) and torch.equal(refined(refiner, rows, crops), first)


def test_the_noise_is_the_persons(model: Path, library: Library) -> None:
    refiner = load(model, library)
    one, other = (refined(refiner, rows_of(1, seeds=np.array([seed]))) for seed in (1, 2))
    assert (one - other).abs().max() > 1e-3


def test_a_person_with_a_lora_has_a_network_of_their_own(model: Path, library: Library, tmp_path: Path) -> None:
    name = "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2"
    weight = make_unet().get_submodule(name).weight
    generator = torch.Generator().manual_seed(1)
    parts = {
        f"unet.{name}.lora_A.weight": torch.randn(2, weight.shape[1], generator=generator),
        f"unet.{name}.lora_B.weight": torch.randn(len(weight), 2, generator=generator),
    }
    save_file(parts, tmp_path / "two.safetensors")
    lora = {"file": str(tmp_path / "two.safetensors"), "scale": 1.0}
    rows = rows_of(4)
    plain = refined(load(model, library), rows)
    own = refined(load(model, library, identities={"two": lora}), rows)
    everybody = refined(load(model, library, loras=[lora]), rows)
    nobody = refined(load(model, library, loras=[{**lora, "scale": 0.0}]), rows)
    torch.testing.assert_close(nobody, plain, atol=1e-5, rtol=0)
    for row in range(4):
        expected = everybody if row % 2 else plain
        torch.testing.assert_close(own[row], expected[row], atol=1e-4, rtol=0)
    assert (everybody - plain).abs().max() > 1e-3


def test_depth_is_asked_for_and_counts_where_there_is_a_controlnet(
    model: Path, library: Library, tmp_path: Path
) -> None:
    make_controlnet(make_unet()).save_pretrained(tmp_path / "depth")
    plain = load(model, library)
    assert plain.needs == Extras.NONE
    refiner = load(model, library, controlnet=str(tmp_path / "depth"))
    assert refiner.needs == Extras.DEPTH
    crops, conditions = crops_of(2)
    near = refiner.refine(crops, conditions, rows_of(2)).clone()
    assert conditions.depth is not None
    moved = conditions.depth.clone()
    moved[1] += 1
    far = refiner.refine(crops, Conditions(conditions.alpha, moved), rows_of(2))
    assert torch.equal(near[0], far[0]) and (near[1] - far[1]).abs().max() > 1e-3
    off = load(model, library, controlnet=str(tmp_path / "depth"), control_scale=0.0)
    torch.testing.assert_close(
        off.refine(crops, conditions, rows_of(2)), refined(plain, rows_of(2), crops), atol=1e-4, rtol=0
    )


def test_what_cannot_be_is_told_when_the_refiner_is_loaded(model: Path, library: Library, tmp_path: Path) -> None:
    for options, reason in (
        ({"sizes": [100]}, r"options of the refiner streamdiffusion: sizes.*multiple of 64"),
        ({"nonsense": 1}, "nonsense"),
        ({"timesteps": [1000]}, "timesteps"),
        ({"batches": []}, "batches.*at least one"),
        ({"loras": [{"file": str(tmp_path / "none.safetensors")}]}, "missing"),
    ):
        with pytest.raises(InputError, match=reason) as caught:
            load(model, library, **options)
        assert "\n" not in str(caught.value)


def test_an_avatar_that_is_not_there_is_told_when_it_is_prepared(model: Path, library: Library) -> None:
    refiner = load(model, library)
    refiner.prepare("one")
    with pytest.raises(InputError, match="there is no avatar 'three'"):
        refiner.prepare("three")


def test_the_package_is_only_asked_for_where_settings_do(
    model: Path, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "streamdiffusion", None)
    assert refined(load(model, library, through="auto"), rows_of(1)).isfinite().all()
    refiner_error = pytest.raises(MissingDependencyError, match=r"pip install --no-deps streamdiffusion==0\.1\.1")
    with refiner_error as caught:
        load(model, library, through="package")
    assert "\n" not in str(caught.value)


def test_behind_the_renderer_only_faces_that_ask_for_it_change(model: Path, library: Library) -> None:
    stage = RefineStage(load(model, library))
    plain, refining = Engine(library, "cpu"), Engine(library, "cpu", stages=[stage])
    renderable = plain.prepare("one")
    config, motion = renderable.network.config, renderable.avatar.motion
    silence = np.zeros((config.audio_frames, config.audio_window, config.audio_width), np.float32)
    drive = Drive("one", silence, 0.0, motion.head_pose[0], motion.torso_pose[0], width=256, height=192)
    asked = [drive, replace(drive, refine=1.0), replace(drive, refine=0.5)]
    expected = plain.render([drive])[0].image
    none, whole, half = (record.image for record in refining.render(asked))
    assert expected is not None and none is not None and whole is not None and half is not None
    np.testing.assert_array_equal(none, expected)
    box = renderable.face_box(drive.head_pose, 256, 192)
    assert box is not None
    x0, y0, x1, y1 = (int(side) for side in box)
    change, less = (np.abs(image.astype(int) - expected) for image in (whole, half))
    face = np.s_[y0:y1, x0:x1]
    assert change[face].mean() > 2
    assert 0.35 * change[face].mean() < less[face].mean() < 0.65 * change[face].mean()
    padding = int(0.25 * max(x1 - x0, y1 - y0)) + 2
    change[max(y0 - padding, 0) : y1 + padding, max(x0 - padding, 0) : x1 + padding] = 0
    assert not change.any()
