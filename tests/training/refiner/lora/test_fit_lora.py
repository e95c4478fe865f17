"""`being fit-refiner --refiner streamdiffusion` from a tiny avatar and its footage to a LoRA that is played."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

pytest.importorskip("diffusers", reason="needs being[refine]")
pytest.importorskip("transformers", reason="needs being[refine]")
from support.avatar_loras import give_lora, random_factors
from support.tiny_diffusion import save_diffusion

from being.avatar.folder import load_avatar
from being.avatar.library import Library
from being.commands.fit_refiner import command
from being.dataset import Dataset
from being.inference.frame_batch import FrameBatch
from being.inference.frames import PixelFormat
from being.inference.rendered import FrameInfo
from being.refine.load import load_stage
from being.refine.settings import RefinerSettings
from being.refine.streamdiffusion import twins
from being.refine.streamdiffusion.avatar_lora import FILE, load_avatar_lora
from being.refine.streamdiffusion.denoiser import Denoiser
from being.training import FitConfig, fit
from being.training.data.footage import split_frames
from being.training.loop import Stop
from being.training.refiner.applied import refined_pictures
from being.training.refiner.fit import INNER_SHARE
from being.training.refiner.folds import render_frames
from being.training.refiner.gathering import FacePlaces, pairs_of
from being.training.refiner.judging import Judged
from being.training.refiner.lora.adapter import Adapter
from being.training.refiner.lora.config import LoraConfig
from being.training.refiner.lora.face_crops import LiveFace
from being.training.refiner.lora.fit import fit_lora, frozen_weights
from being.training.refiner.lora.judging import AdaptedInMemory, judge_lora

CPU = torch.device("cpu")
TINY = FitConfig(
    static_steps=200,  # until there is a mouth whose motion can be followed
    network_steps=2,
    batch=1,
    gaussians=1500,
    initial_gaussians=1200,
    features="logmel",
    pretrained="none",
    quality_suite=False,
    device="cpu",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_diffusion(tmp_path_factory.mktemp("diffusion"))


@pytest.fixture(scope="module")
def fitted(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("avatars") / "person"
    fit(clip, folder, TINY, consent="synthetic")
    return folder


@pytest.fixture
def person(fitted: Path, tmp_path: Path) -> Path:
    return shutil.copytree(fitted, tmp_path / "avatars" / "person")


def options_of(model: Path) -> dict[str, Any]:
    return {"model": str(model), "autoencoder": str(model / "taesd"), "sizes": [64], "lora_rank": 4}


def tiny_options(model: Path, **more: Any) -> str:
    return json.dumps(options_of(model) | more)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [*map(str, arguments)])


def test_the_command_trains_judges_and_reports(clip: Path, model: Path, person: Path) -> None:
    own = {name: value for name, value in options_of(model).items() if name not in ("model", "autoencoder")}
    result = run(
        *(person, "--data", clip, "--refiner", "streamdiffusion", "--minutes", 0.03, "--device", "cpu"),
        *("--model", model, "--autoencoder", model / "taesd", "--options", json.dumps(own)),
    )
    assert result.exit_code == 0, result.output
    assert "the model alone, at that strength:" in result.output
    work = person.with_name("person.lora")
    page = (work / "report.html").read_text()
    assert all(word in page for word in ("rendered", "model alone", "refined", "filmed", "Flicker"))
    found = json.loads((work / "lora.json").read_text())
    assert found["steps"] >= 1
    assert {"raw_psnr", "alone_psnr", "refined_psnr", "refined_lip_shift_px", "film_flicker"} <= set(found["metrics"])
    stored = FILE in load_avatar(person).manifest.files
    assert stored == ("not put into the avatar" not in result.output) == (work / FILE).exists()


@pytest.fixture
def harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged as ever, and found harmless: a model of random numbers moves the lips of some tiny avatars too far."""

    def judged(*arguments: Any) -> Judged:
        return replace(judge_lora(*arguments), harmless=True)

    monkeypatch.setattr("being.training.refiner.lora.fit.judge_lora", judged)


@pytest.mark.usefixtures("harmless")
def test_what_does_no_harm_is_stored_with_its_hash_and_played_as_it_was_judged(
    clip: Path, model: Path, person: Path, tmp_path: Path
) -> None:
    """Held-out frames through the live refiner, whole, against the square of them that is judged."""
    config = LoraConfig.model_validate({"refiner": options_of(model), "steps": 20, "rate": 3e-2, "device": "cpu"})
    result = fit_lora(person, clip, config, work=tmp_path / "work")
    assert result.judged is not None
    manifest = load_avatar(person).manifest  # hashes checked
    lora = load_avatar_lora(person / FILE)
    assert FILE in manifest.files and lora.facts.gaussians == manifest.files["gaussians.ply"]
    assert lora.facts.strength == result.judged.strength and lora.facts.metrics == result.metrics
    assert lora.facts.rank == 4 and lora.facts.base.model == str(model)

    give_lora(person, dict(lora.factors), lora.facts.base, strength=0.9)  # little is seen of what was kept
    live = played(clip, model, person, tmp_path)
    avatar, dataset = load_avatar(person), Dataset(clip)
    places = FacePlaces(avatar, dataset, config.refiner.sizes)
    face = LiveFace.of(avatar, places)
    adapter = Adapter(frozen_weights(config, CPU)[0], config.refiner, face.seed, 0)
    adapter.take(lora.factors)
    renders = render_frames(avatar, dataset, frames_of(dataset, places), TINY, tmp_path, places.square)
    pairs = pairs_of(dataset, places, [(renders, False, 0)])
    judged = refined_pictures(pairs, AdaptedInMemory(adapter, face, config.refiner.sizes, adapted=True), 0.9)
    x, y, side = places.square
    assert (live[:, y : y + side, x : x + side].int() - judged.int()).abs().max() <= 1
    assert (judged.int() - renders.rgb.int()).abs().float().mean() > 5


def frames_of(dataset: Dataset, places: FacePlaces) -> list[int]:
    return places.in_sight(split_frames(dataset, INNER_SHARE)[1].all)[:2]


def played(clip: Path, model: Path, person: Path, cache: Path) -> torch.Tensor:
    """Whole frames (2, H, W, 3) uint8 through the refiner as it is live."""
    avatar, dataset = load_avatar(person), Dataset(clip)
    places = FacePlaces(avatar, dataset, (64,))
    frames = frames_of(dataset, places)
    whole = render_frames(avatar, dataset, frames, TINY, cache, (0, 0, dataset.width))
    settings = RefinerSettings(backend="streamdiffusion", device="cpu", options=options_of(model))
    stage = load_stage(settings, Library([person.parent]))
    stage.prepare("person")
    count = len(frames)
    info = FrameInfo(
        ("person",) * count,
        ("",) * count,
        np.zeros(count, np.int64),
        np.array(frames),
        whole.head_poses.numpy(),
        places.boxes[frames],
        np.ones(count, np.float32),
    )
    nothing = torch.zeros(count, dtype=torch.int32)
    clear = np.zeros(count, bool)
    batch = FrameBatch(info, whole.rgb, whole.alpha, PixelFormat.RGB, whole.rgb[:0], nothing, clear)
    with torch.inference_mode():
        return stage(batch).pixels


def test_nothing_is_stored_when_it_is_stopped(clip: Path, model: Path, person: Path, tmp_path: Path) -> None:
    stop = Stop()
    stop.wanted = True
    config = LoraConfig.model_validate({"refiner": options_of(model), "device": "cpu"})
    result = fit_lora(person, clip, config, work=tmp_path / "work", stop=stop)
    assert result.stopped and result.judged is None
    assert FILE not in load_avatar(person).manifest.files and not (tmp_path / "work" / "report.html").exists()


def test_what_does_harm_leaves_the_lora_that_the_avatar_had(
    clip: Path, model: Path, person: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [person, "--data", clip, "--refiner", "streamdiffusion", "--minutes", 0.001, "--device", "cpu"]
    arguments += ["--options", tiny_options(model)]

    def harmful(*arguments: Any) -> Judged:
        return replace(judge_lora(*arguments), harmless=False)

    monkeypatch.setattr("being.training.refiner.lora.fit.judge_lora", harmful)
    first = run(*arguments)
    assert "not put into the avatar" in first.output and "had" not in first.output
    weights, base = frozen_weights(LoraConfig.model_validate({"refiner": options_of(model), "device": "cpu"}), CPU)
    give_lora(person, random_factors(Denoiser(weights.unet, weights.prompt, (249,), twins), 0), base)
    before = load_avatar(person).manifest.files
    again = run(*arguments)
    assert again.exit_code == 0, again.output
    assert "the avatar keeps the LoRA that it had; avatar_loras: false" in again.output
    assert load_avatar(person).manifest.files == before


@pytest.mark.usefixtures("harmless")
def test_what_is_played_with_other_options_is_told_where_they_go(clip: Path, model: Path, person: Path) -> None:
    result = run(
        *(person, "--data", clip, "--refiner", "streamdiffusion", "--minutes", 0.001, "--device", "cpu"),
        *("--options", tiny_options(model)),
    )
    assert "let it speak: being serve with refiner: " in result.output
    said = result.output.split("with refiner: ")[1].split(" under args")[0]
    assert json.loads(said) == {"backend": "streamdiffusion", "options": options_of(model)}


def test_bad_input_is_one_line_with_the_remedy(clip: Path, model: Path, person: Path, tmp_path: Path) -> None:
    of_lora = ("--refiner", "streamdiffusion", "--device", "cpu")
    for arguments, reason in (
        (("--model", model), r"--model.* are streamdiffusion's\. Add --refiner streamdiffusion"),
        ((*of_lora, "--options", "{"), "--options is no JSON"),
        ((*of_lora, "--options", "[1]"), "--options is no JSON object"),
        ((*of_lora, "--options", '{"nonsense": 1}'), "nonsense.*Known: model"),
        ((*of_lora, "--minutes", 0), "needs minutes"),
        ((*of_lora, "--restart", "--folds", 3), r"--folds and --restart would do nothing"),
        ((*of_lora, "--options", '{"avatar_loras": false}'), "would never be used"),
        ((*of_lora, "--options", '{"identities": {"person": {"file": "a"}}}'), "would never be used"),
        ((*of_lora, "--options", tiny_options(model, loras=[{"file": "/nowhere"}])), "LoRA /nowhere is missing"),
        ((*of_lora, "--work", model / "model_index.json" / "work"), r"work cannot be written"),
        ((*of_lora, "--model", tmp_path / "nowhere"), "there is no folder"),
    ):
        error = run(person, "--data", clip, *arguments).exception
        assert error is not None and "\n" not in str(error)
        with pytest.raises(type(error), match=reason):
            raise error
