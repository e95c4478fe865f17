"""Avatars with LoRAs of their own, live: rows of different people in one batch, each by its own."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers", reason="needs being[refine]")
pytest.importorskip("transformers", reason="needs being[refine]")
from support.avatar_loras import RANK, give_lora, random_factors
from support.tiny import make_tiny_avatar
from support.tiny_diffusion import save_diffusion

from being.avatar.folder import save_avatar
from being.avatar.library import Library
from being.errors import FormatError, InputError
from being.refine.contract import Conditions, CropRows
from being.refine.streamdiffusion import load
from being.refine.streamdiffusion.avatar_lora import FILE, LoraBase, base_of
from being.refine.streamdiffusion.avatar_loras import AvatarLoras, LoadedLora
from being.refine.streamdiffusion.loading import load_weights
from being.refine.streamdiffusion.lora_layout import LoraLayout
from being.refine.streamdiffusion.package_step import installed
from being.refine.streamdiffusion.refiner import StreamDiffusionRefiner
from being.refine.streamdiffusion.settings import StreamDiffusionSettings

CPU = torch.device("cpu")
NAMES = ("one", "two", "plain")
PACKAGE = pytest.mark.skipif(not installed(), reason="needs pip install --no-deps streamdiffusion==0.1.1")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_diffusion(tmp_path_factory.mktemp("diffusion"))


def settings_of(model: Path, **options: Any) -> dict[str, Any]:
    return {"model": str(model), "autoencoder": str(model / "taesd"), "sizes": [64], "prompt": "a face", **options}


def refiner_of(model: Path, library: Library, **options: Any) -> StreamDiffusionRefiner:
    refiner = load(settings_of(model, **options), library, CPU)
    assert isinstance(refiner, StreamDiffusionRefiner)
    return refiner


def base(model: Path) -> LoraBase:
    settings = StreamDiffusionSettings.model_validate(settings_of(model))
    return base_of(load_weights(settings, CPU, torch.float32), settings)


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Avatars of no LoRA."""
    folder = tmp_path_factory.mktemp("avatars")
    for seed, name in enumerate(NAMES):
        save_avatar(make_tiny_avatar(name, seed), folder / name)
    return folder


@pytest.fixture
def avatars(without: Path, model: Path, tmp_path: Path) -> Path:
    """ "one" and "two" have a LoRA each, "plain" has none."""
    folder = shutil.copytree(without, tmp_path / "avatars")
    denoiser = refiner_of(model, Library([without])).network().denoiser
    for seed, name in enumerate(("one", "two")):
        give_lora(folder / name, random_factors(denoiser, seed), base(model))
    return folder


def rows_of(*avatars: str) -> CropRows:
    count = len(avatars)
    poses = np.tile(np.eye(3, 4, dtype=np.float32), (count, 1, 1))
    poses[:, 1:3, 1:3] *= -1
    poses[:, 2, 3] = 8 + 0.1 * np.arange(count)
    return CropRows(
        avatars=avatars,
        sessions=tuple(f"session{row}" for row in range(count)),
        generations=np.zeros(count, np.int64),
        indices=np.arange(count),
        head_poses=poses,
        windows=np.tile(np.array([100, 60, 164, 124], np.float32), (count, 1)),
        frame_size=(512, 384),
        strengths=np.full(count, 1.0, np.float32),
        seeds=np.array([NAMES.index(name) for name in avatars], np.int64),
    )


CROPS = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def refined(refiner: StreamDiffusionRefiner, rows: CropRows, crops: torch.Tensor = CROPS) -> torch.Tensor:
    return refiner.refine(crops[: len(rows)], Conditions(torch.ones(len(rows), 1, 64, 64)), rows).clone()


@pytest.mark.parametrize("through", ["direct", pytest.param("package", marks=PACKAGE)])
def test_rows_go_by_their_own_lora_and_do_not_mix(model: Path, avatars: Path, without: Path, through: str) -> None:
    refiner = refiner_of(model, Library([avatars]), through=through)
    plain = refiner_of(model, Library([without]), through=through)
    rows = rows_of("one", "two", "one", "two")
    before = refined(refiner, rows)
    for row, name in enumerate(rows.avatars):
        file = {"file": str(avatars / name / FILE)}
        merged = refined(refiner_of(model, Library([without]), through=through, identities={name: file}), rows)
        torch.testing.assert_close(before[row], merged[row], atol=1e-4, rtol=0)
        assert (before[row] - refined(plain, rows)[row]).abs().max() > 1e-3
    crops = CROPS.clone()
    crops[1] = 1 - crops[1]
    seeds = rows.seeds.copy()
    seeds[1] = 0
    after = refined(refiner, replace(rows, avatars=("one", "one", "one", "two"), seeds=seeds), crops)
    for row in (0, 2, 3):
        assert torch.equal(before[row], after[row])
    assert not torch.equal(before[1], after[1])


def test_a_batch_is_what_its_rows_are_one_by_one(model: Path, avatars: Path) -> None:
    refiner = refiner_of(model, Library([avatars]), batches=[1, 2, 4], timesteps=[249, 499])
    rows = replace(rows_of("one", "plain", "two", "one"), strengths=np.array([1, 0.4, 0.4, 0.4], np.float32))
    together = refined(refiner, rows)
    for row in range(4):
        alone = refined(refiner, rows.take([row]), CROPS[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-4, rtol=0)


def test_who_has_no_lora_is_refined_as_if_there_were_none_bit_for_bit(
    model: Path, avatars: Path, without: Path
) -> None:
    plain, adapting = (refiner_of(model, Library([folder])) for folder in (without, avatars))
    alone = rows_of("plain", "plain")
    assert torch.equal(refined(plain, alone), refined(adapting, alone))
    mixed = refined(adapting, rows_of("plain", "plain", "one", "two"))
    assert torch.equal(mixed[:2], refined(plain, alone))
    off = refiner_of(model, Library([avatars]), avatar_loras=False)
    everybody = rows_of("plain", "one", "two", "one")
    assert torch.equal(refined(off, everybody), refined(plain, everybody))


def test_a_lowered_strength_keeps_as_much_of_the_render(model: Path, avatars: Path) -> None:
    whole = refined(refiner_of(model, Library([avatars])), rows_of("one"))
    denoiser = refiner_of(model, Library([avatars])).network().denoiser
    give_lora(avatars / "one", random_factors(denoiser, 0), base(model), strength=0.25)
    weak = refined(refiner_of(model, Library([avatars])), rows_of("one"))
    torch.testing.assert_close(weak, torch.lerp(CROPS[:1], whole, 0.25), atol=1e-5, rtol=0)


def test_a_lora_for_another_model_is_left_out_with_a_note(
    model: Path, avatars: Path, without: Path, caplog: pytest.LogCaptureFixture
) -> None:
    denoiser = refiner_of(model, Library([without])).network().denoiser
    give_lora(avatars / "one", random_factors(denoiser, 0), base(model).model_copy(update={"unet": "other"}))
    refiner = refiner_of(model, Library([avatars]))
    refiner.prepare("one")
    assert "one is refined without its LoRA" in caplog.text and "being fit-refiner" in caplog.text
    expected = refined(refiner_of(model, Library([without])), rows_of("one"))
    assert torch.equal(refined(refiner, rows_of("one")), expected)


def test_what_was_trained_with_another_prompt_is_used_with_a_note(
    model: Path, avatars: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refiner_of(model, Library([avatars]), prompt="a hat").prepare("one")
    assert "its LoRA was trained with prompt 'a face', not 'a hat'" in caplog.text


def test_one_that_is_damaged_or_too_large_is_told_when_it_is_prepared(model: Path, avatars: Path) -> None:
    with pytest.raises(InputError, match=rf"rank {RANK}.*room for 2.*lora_rank: {RANK}"):
        refiner_of(model, Library([avatars]), lora_rank=2).prepare("one")
    refiner = refiner_of(model, Library([avatars]))
    (avatars / "two" / FILE).write_bytes(b"\x00" * 64)
    with pytest.raises(FormatError, match=r"lora\.safetensors"):
        refiner.prepare("two")


def test_one_that_is_trained_anew_is_taken_up(model: Path, avatars: Path) -> None:
    library = Library([avatars])
    refiner = refiner_of(model, library)
    refiner.prepare("one")
    before = refined(refiner, rows_of("one"))
    give_lora(avatars / "one", random_factors(refiner.network().denoiser, 9), base(model))
    library.rescan()
    refiner.prepare("one")
    after = refined(refiner, rows_of("one"))
    assert not torch.equal(before, after)
    refiner.forget("one")
    assert torch.equal(refined(refiner, rows_of("one")), after)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_graphs_take_each_rows_lora_from_the_bank(model: Path, avatars: Path) -> None:
    """On a GPU in half precision, recorded, against single precision on the CPU; more people than rows at a time."""
    device = torch.device("cuda")
    library = Library([avatars])
    fast = load(settings_of(model, batches=[2], through="direct"), library, device)
    conditions = Conditions(torch.ones(2, 1, 64, 64, device=device))
    for name in NAMES:
        fast.prepare(name)
    slow = refiner_of(model, library, through="direct")
    for rows in (rows_of("one", "two"), rows_of("two", "one"), rows_of("plain", "one")):
        with torch.inference_mode():
            made = fast.refine(CROPS[:2].to(device), conditions, rows).cpu()
        expected = refined(slow, rows)
        assert (made - expected).abs().mean() < 0.02 * expected.std()


def test_the_bank_is_bounded(model: Path, without: Path) -> None:
    library = Library([without])
    layout = LoraLayout(refiner_of(model, library).network().denoiser, 1)
    loras = AvatarLoras(library, layout, base(model), CPU, torch.float32, count=2)
    one, two, three = (LoadedLora(torch.full((layout.width,), float(n)), 1.0) for n in (1, 2, 3))
    assert loras.slots([one, two, one]) == [0, 1, 0]
    assert loras.slots([one]) == [0] and loras.slots([three]) == [1]  # two was used least recently
    assert loras.slots([three, one]) == [1, 0]
    assert [float(row[0]) for row in loras.bank] == [1, 3]
    with pytest.raises(ValueError, match="3 LoRAs in one batch"):
        loras.slots([one, two, three])
