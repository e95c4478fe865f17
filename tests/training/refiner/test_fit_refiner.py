"""From an avatar and its footage to a refiner in the avatar, in a size that takes seconds."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from being.avatar.folder import load_avatar
from being.commands.fit_refiner import command
from being.dataset import Dataset
from being.errors import InputError
from being.progress import Silent
from being.refine.native.network import RefineConfig, RefineNetwork
from being.refine.native.weights import FILE, load_refiner
from being.training import FitConfig, fit
from being.training.loop import Stop
from being.training.refiner.config import RefinerConfig, RefineWeights
from being.training.refiner.fit import fit_refiner, spread
from being.training.refiner.folds import folds, write_without
from being.training.refiner.guard import BETTER
from being.training.refiner.judging import Judged, judge, judge_both
from being.training.refiner.loop import Trained, train
from being.training.refiner.losses import Discriminator, band_strengths
from being.training.refiner.pairs import CropSampler, Pairs

TINY = FitConfig(
    static_steps=1,
    network_steps=1,
    batch=1,
    gaussians=200,
    initial_gaussians=150,
    features="logmel",
    pretrained="none",
    quality_suite=False,
    device="cpu",
)
SMALL = RefinerConfig(
    network=RefineConfig(width=8, depths=(1, 1, 1)), steps=2, batch=2, size=32, device="cpu", fold_minutes=1
)


def test_folds_divide_the_frames_into_blocks() -> None:
    frames = list(range(3, 103))
    parts = folds(frames, 3)
    assert sorted(frame for part in parts for frame in part) == frames
    assert parts[0][:16] == tuple(range(3, 19)) and parts[1][0] == 19
    assert all(folds(range(4), 3))


def test_spread_keeps_runs_of_neighbours() -> None:
    assert spread(range(64), 32) == [*range(8), *range(16, 24), *range(32, 40), *range(48, 56)]
    assert spread(range(5), 9) == list(range(5))


def test_a_fold_is_the_same_footage_with_more_held_out(clip: Path, tmp_path: Path) -> None:
    whole = Dataset(clip)
    left_out = whole.split.train[4:9]
    fold = Dataset(write_without(whole, left_out, tmp_path / "fold"))
    assert fold.frames == whole.frames
    assert set(fold.split.val) == set(whole.split.val) | set(left_out)
    assert set(fold.split.train) == set(whole.split.train) - set(left_out)
    np.testing.assert_array_equal(fold.image(5), whole.image(5))


def pairs_of_noise(count: int = 6, side: int = 48) -> Pairs:
    """Film with detail, renders without: blurred film."""
    random = torch.Generator().manual_seed(0)
    film = torch.nn.functional.interpolate(
        torch.rand(count, 3, side // 2, side // 2, generator=random), size=(side, side)
    )
    soft = torch.nn.functional.avg_pool2d(film, 5, stride=1, padding=2, count_include_pad=False)
    bytes_of = [(255 * part.permute(0, 2, 3, 1)).round().to(torch.uint8) for part in (soft, film)]
    return Pairs(
        frames=torch.tensor([0, 1, 2, 3, 7, 8]),
        renders=bytes_of[0],
        truth=bytes_of[1],
        alpha=torch.full((count, side, side), 255, dtype=torch.uint8),
        plate=torch.zeros(side, side, 3, dtype=torch.uint8),
        windows=torch.tensor([[4, 4, 44, 44]] * count),
        boxes=torch.tensor([[8.0, 8, 40, 40]] * count),
        lips=torch.tensor([[16.0, 24, 32, 32]] * count),
        seen=torch.tensor([False] * 4 + [True] * 2),
        avatars=torch.tensor([1] * 4 + [0] * 2),
        head_poses=torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 8]]).repeat(count, 1, 1),
        depth=torch.full((count, side, side), 8.0, dtype=torch.float16),
        camera=(100.0, 100.0, side / 2, side / 2),
    )


def test_crops_come_from_the_windows_in_pairs_of_neighbours() -> None:
    sampler = CropSampler(pairs_of_noise(), 32, 0.5, 0)
    crops = sampler.draw(64)
    assert crops.render.shape == (128, 3, 32, 32) and crops.alpha.shape == (128, 1, 32, 32)
    first, second = crops.truth.chunk(2)
    same = (first - second).abs().amax((1, 2, 3)) == 0
    torch.testing.assert_close(~same, crops.follows)
    assert 0.3 < float(crops.follows.float().mean()) < 0.9


def test_the_strength_of_a_band_does_not_depend_on_where_its_detail_lies() -> None:
    detail = torch.rand(1, 3, 64, 64)
    moved = detail.roll(1, 3)
    (here, *_), (there, *_), (none, *_) = (
        band_strengths(part) for part in (detail, moved, torch.full_like(detail, 0.5))
    )
    assert (here - there).abs().mean() < 0.15 * (here - none).abs().mean()


def test_training_brings_renders_nearer_to_film() -> None:
    loss = RefineWeights(adversarial=0.001, features=1.0)
    config = SMALL.model_copy(update={"steps": 60, "batch": 8, "rate": 3e-3, "loss": loss})
    pairs = pairs_of_noise()
    trained = train(pairs, config, torch.device("cpu"), None, Silent(), Stop())
    assert trained.steps == 60 and not trained.stopped
    first, last = trained.history[0], trained.history[-1]
    assert last["bands"] < 0.8 * first["bands"]
    assert {"l1", "ssim", "bands", "adversarial", "features", "steady", "critic"} <= set(last)


def test_a_refiner_that_does_harm_is_weakened_and_in_the_end_not_kept() -> None:
    pairs = pairs_of_noise()
    network = RefineNetwork(SMALL.network)
    untrained = judge(pairs, SMALL.network, network.state_dict(), 0.0)
    assert untrained.strength == 1 and untrained.harmless and not untrained.kept, "it changes nothing"
    assert untrained.refined == pytest.approx(untrained.raw, abs=1e-4)
    torch.manual_seed(0)
    torch.nn.init.normal_(network.leave.weight, std=0.5)
    named = judge(
        pairs, SMALL.network, network.state_dict(), 0.0, identity=lambda made, _: made.float().mean((1, 2, 3))
    )
    assert named.metrics()["raw_identity"] == pytest.approx(float(pairs.renders.float().mean()), abs=1e-3)
    assert "raw_identity" not in untrained.metrics()
    strong = judge(pairs, SMALL.network, network.state_dict(), 0.0)
    assert strong.strength < 0.8 and strong.harmless and strong.refined["psnr"] > strong.raw["psnr"] - 0.06
    torch.nn.init.normal_(network.leave.weight, std=50.0)
    assert not judge(pairs, SMALL.network, network.state_dict(), 0.0).harmless


def test_the_discriminator_is_told_the_render() -> None:
    judge = Discriminator(8)
    picture, one, other = torch.rand(3, 2, 3, 32, 32)
    assert not torch.allclose(judge(one, picture)[0], judge(other, picture)[0])


@pytest.fixture(scope="module")
def person(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("avatars") / "person"
    fit(clip, folder, TINY, consent="synthetic")
    return folder


def test_references_are_laid_out_judged_and_stored_without_folds(clip: Path, person: Path, tmp_path: Path) -> None:
    result = fit_refiner(person, clip, RefinerConfig(device="cpu"), work=tmp_path)
    assert result.judged is not None and result.report.read_text().count("<img") >= 3
    assert {"raw_psnr", "refined_psnr", "refined_spectrum", "refined_lip_shift_px", "film_flicker"} <= set(
        result.metrics
    )
    assert not list(tmp_path.glob("fold*"))
    if result.judged.kept:
        manifest = load_avatar(person).manifest  # hashes checked
        facts = load_refiner(person / FILE).facts
        assert facts.gaussians == manifest.files["gaussians.ply"]
        assert facts.network.width == 0 and facts.network.references >= 1


def test_what_does_harm_leaves_the_refiner_that_the_avatar_had(
    clip: Path, person: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(person, tmp_path / "person")
    files = []
    for harmless in (True, False):

        def judged(*arguments: Any, harmless: bool = harmless) -> tuple[Trained, Judged]:
            kept, found = judge_both(*arguments)
            return kept, replace(found, harmless=harmless, pays=True)

        monkeypatch.setattr("being.training.refiner.fit.judge_both", judged)
        said = CliRunner().invoke(command, [str(folder), "--data", str(clip), "--device", "cpu"]).output
        assert ("the avatar keeps the refiner that it had" in said) != harmless
        files.append(load_avatar(folder).manifest.files)
    assert FILE in files[0] and files[0] == files[1]


def test_a_network_on_top_is_trained_with_folds_and_kept_only_where_it_is_better(
    clip: Path, person: Path, tmp_path: Path
) -> None:
    result = fit_refiner(person, clip, SMALL, work=tmp_path, fold_config=TINY)
    assert result.judged is not None
    scores = json.loads((tmp_path / "refiner.json").read_text())["guard"]
    assert scores
    if result.judged.kept:
        width = load_refiner(person / FILE).facts.network.width
        assert (width > 0) == (min(scores.values()) < BETTER)
    assert sorted(path.name for path in tmp_path.glob("fold*")) == [
        "fold0.safetensors",
        "fold1.safetensors",
        "folds.json",
    ]
    with pytest.raises(InputError, match=r"another run \(folds differ\)") as refused:
        fit_refiner(person, clip, SMALL.model_copy(update={"folds": 3}), work=tmp_path, fold_config=TINY)
    assert "--restart" in refused.value.remedy
    stopped = Stop()
    stopped.wanted = True
    assert fit_refiner(person, clip, SMALL, work=tmp_path, fold_config=TINY, stop=stopped).stopped


def test_a_refiner_needs_references_or_a_training() -> None:
    with pytest.raises(ValueError, match="needs minutes"):
        RefinerConfig(references=0)
    assert RefinerConfig(references=0, minutes=1).learned and not RefinerConfig().learned


def test_other_footage_is_refused(clip: Path, tmp_path: Path) -> None:
    from support.tiny import make_tiny_avatar

    from being.avatar.folder import save_avatar

    save_avatar(make_tiny_avatar(), tmp_path / "tiny")
    with pytest.raises(InputError, match="was made from 64x48"):
        fit_refiner(tmp_path / "tiny", clip)
