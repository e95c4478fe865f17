"""Weights from a folder: found, hashed, checked; what is missing or damaged is told in one line with the remedy."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

diffusers = pytest.importorskip("diffusers", reason="needs being[refine]")
pytest.importorskip("transformers", reason="needs being[refine]")
from support.tiny_diffusion import UNET, WIDTH, make_controlnet, make_unet, save_diffusion

from being.errors import BeingError, FormatError, InputError, MissingDependencyError
from being.refine.streamdiffusion.loading import load_weights, random_weights
from being.refine.streamdiffusion.settings import StreamDiffusionSettings

CPU = torch.device("cpu")
NOWHERE = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"  # nothing listens there


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_diffusion(tmp_path_factory.mktemp("diffusion"))


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return shutil.copytree(saved, tmp_path / "model")


def load(folder: Path, **options: Any) -> Any:
    settings = {"model": str(folder), "autoencoder": str(folder / "taesd"), "prompt": "a face", **options}
    return load_weights(StreamDiffusionSettings(**settings), CPU, torch.float32)


def refusal(folder: Path, **options: Any) -> BeingError:
    with pytest.raises(BeingError) as caught:
        load(folder, **options)
    assert "\n" not in str(caught.value) and caught.value.remedy
    return caught.value


def test_what_was_saved_is_loaded(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        weights = load(saved)
    expected = make_unet().state_dict()
    for name, value in weights.unet.state_dict().items():
        assert torch.equal(value, expected[name])
    assert weights.prompt.shape == (16, WIDTH) and weights.controlnet is None
    assert set(weights.hashes) == {"unet", "autoencoder", "text_encoder"}
    for part, digest in weights.hashes.items():
        assert len(digest) == 64 and f"{part}: SHA-256 {digest}" in caplog.text


def test_the_prompt_is_encoded_as_diffusers_pipeline_does(saved: Path) -> None:
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        saved, vae=None, safety_checker=None, feature_extractor=None, local_files_only=True
    )
    expected, _ = pipeline.encode_prompt("a face", CPU, 1, False)
    torch.testing.assert_close(load(saved).prompt, expected[0], atol=1e-6, rtol=1e-5)
    other = load(saved, prompt="a hat").prompt
    assert (other - expected[0]).abs().max() > 1e-2


def test_half_precision_files_are_taken_where_they_are(model: Path) -> None:
    for part in ("unet", "text_encoder"):
        (path,) = (model / part).glob("*.safetensors")
        path.rename(path.with_suffix(".fp16.safetensors"))
    assert torch.equal(load(model).unet.conv_in.weight, make_unet().conv_in.weight)


def test_a_controlnet_is_loaded_beside(model: Path) -> None:
    make_controlnet(make_unet()).save_pretrained(model / "depth")
    weights = load(model, controlnet=str(model / "depth"))
    assert weights.controlnet is not None and "controlnet" in weights.hashes


def test_a_hash_that_was_asked_for_must_be_it(saved: Path) -> None:
    digest = load(saved).hashes["unet"]
    load(saved, sha256={"unet": digest.upper()})
    error = refusal(saved, sha256={"unet": "0" * 64})
    assert isinstance(error, FormatError) and digest in error.problem


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model"),
        ("unet/config.json", "unet/config.json"),
        ("scheduler/scheduler_config.json", "scheduler/scheduler_config.json"),
        ("text_encoder/model.safetensors", "text_encoder/model"),
        ("tokenizer/vocab.json", "tokenizer/vocab.json"),
        ("taesd/config.json", "config.json"),
    ],
)
def test_what_is_missing_is_named(model: Path, part: str, told: str) -> None:
    (model / part).unlink()
    error = refusal(model)
    assert isinstance(error, InputError) and told in error.problem and "diffusers' layout" in error.remedy


def test_pickles_are_not_taken(model: Path) -> None:
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    assert "safetensors" in refusal(model).problem


def test_what_is_damaged_is_named(model: Path) -> None:
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    error = refusal(model)
    assert isinstance(error, FormatError) and str(weights) in error.problem


def test_weights_that_do_not_fit_their_configuration_are_refused(model: Path) -> None:
    path = model / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "block_out_channels": [16, 32, 32, 64]}))
    assert isinstance(refusal(model), FormatError)
    path.write_text("{")
    assert "config.json" in refusal(model).problem


def test_a_model_of_another_kind_is_refused(model: Path) -> None:
    path = model / "unet" / "config.json"
    make_unet(config={**UNET, "in_channels": 9}).save_pretrained(model / "unet")
    assert "another kind" in refusal(model).problem
    assert path.is_file()


def test_a_text_encoder_of_another_model_is_refused(model: Path) -> None:
    make_unet(config={**UNET, "cross_attention_dim": 64}).save_pretrained(model / "unet")
    assert "unet expects 64" in refusal(model).problem


def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    error = refusal(tmp_path / "nowhere")
    assert "there is no folder" in error.problem


def test_a_hub_name_that_is_not_here_tells_the_command_that_gets_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    settings = StreamDiffusionSettings(model="someone/something", local_files_only=True)
    with pytest.raises(InputError, match=r"hf download someone/something") as caught:
        load_weights(settings, CPU, torch.float32)
    assert "\n" not in str(caught.value)


def test_a_hub_out_of_reach_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An address where nothing listens stands for no network."""
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", NOWHERE)
    started = time.monotonic()
    with pytest.raises(InputError, match="'someone/something' cannot be reached") as caught:
        load_weights(StreamDiffusionSettings(model="someone/something"), CPU, torch.float32)
    assert "\n" not in str(caught.value) and "hf download someone/something" in caught.value.remedy
    assert time.monotonic() - started < 15 and not caplog.records  # the hub's own client tries for 23 s, aloud


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])  # which may take files of half the size, if there
def test_what_the_cache_of_the_hub_holds_is_taken_without_asking(
    saved: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dtype: torch.dtype
) -> None:
    pytest.importorskip("huggingface_hub")
    commit = "0" * 40
    for name, folder in (("model", saved), ("taesd", saved / "taesd")):
        shutil.copytree(folder, tmp_path / f"models--someone--{name}" / "snapshots" / commit)
        (tmp_path / f"models--someone--{name}" / "refs").mkdir()
        (tmp_path / f"models--someone--{name}" / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", NOWHERE)
    settings = StreamDiffusionSettings(model="someone/model", autoencoder="someone/taesd", prompt="a face")
    assert load_weights(settings, CPU, dtype).hashes == load(saved).hashes


@pytest.mark.parametrize("package", ["diffusers", "transformers"])
def test_a_missing_package_is_told_with_the_command(saved: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    error = refusal(saved)
    assert isinstance(error, MissingDependencyError) and "pip install 'diffusers>=0.42'" in error.remedy


def test_random_weights_are_the_same_each_time_and_leave_the_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one, two = (random_weights(CPU, torch.float32, UNET) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(one.prompt, two.prompt) and torch.equal(one.unet.conv_in.weight, two.unet.conv_in.weight)
