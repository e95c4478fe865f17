"""Held-out frames lend their poses and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from being.dataset import Dataset
from being.progress import Silent
from being.training.config import FitConfig
from being.training.data.footage import Batch, Footage
from being.training.data.speech import listen
from being.training.finished_poses import fidelity, look_up
from being.training.fit import begin
from being.training.loop import Learned, Stop, Trainer
from being.training.loss.losses import box_mask
from being.training.model.corrections import compose
from being.training.model.densify import ScreenGradients
from being.training.model.drawing import RenderSettings
from being.training.quality.evaluate import held_out_psnr
from being.training.schedule import NETWORK, STATIC, Stage

TURNS = 50


def test_poses_of_held_out_frames_are_found_and_nothing_else_learns_from_them(clip: Path, tmp_path: Path) -> None:
    data, config = Dataset(clip), FitConfig(device="cpu", batch=4, initial_gaussians=1500, gaussians=1500)
    speech = listen(data, config, tmp_path)
    footage = Footage(data, speech.contexts, config, torch.device("cpu"))
    held = torch.tensor(footage.held_out.all)
    wrong = torch.tensor([[0.02, -0.03, 0.02, 0.03, -0.02, 0.0]]).expand(len(held), 6)
    footage.head_poses[held] = compose(footage.head_poses[held], wrong)
    settings = RenderSettings(footage.background, footage.intrinsics, "auto", "float32")
    run = begin(footage, data, speech, config)
    trainer = Trainer(run, footage, settings, config, None, Silent(), lambda: None, Stop())
    before = {name: value.detach().clone() for name, value in run.gaussians.values.items()}

    wide = held_out_psnr(run.gaussians.gaussians(), None, footage, settings, run.corrections)
    for turn in range(TURNS):
        followed = trainer.follow(Stage(STATIC, TURNS), turn)
        assert all(parameter.grad is None for parameter in run.parameters())
        assert not any(gradient[list(footage.train)].any() for gradient in followed)
        trainer.add_up(Learned(ScreenGradients.zeros(run.gaussians.count, "cpu"), {}), followed)
        run.corrections.step(1.0)
    near = held_out_psnr(run.gaussians.gaussians(), None, footage, settings, run.corrections)
    assert wide is not None and near is not None and near > wide + 0.3, (wide, near)

    trainer.follow(Stage(NETWORK, 1), 0)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in run.network.heads.parameters())
    for name, value in run.gaussians.values.items():
        torch.testing.assert_close(value.detach(), before[name], rtol=0, atol=0)

    footage.adopt(*run.corrections.posed(torch.arange(footage.frames), footage.head_poses, footage.torso_poses))
    np.testing.assert_allclose(held_out_psnr(run.gaussians.gaussians(), None, footage, settings), near, atol=1e-3)


def test_in_the_end_held_out_poses_are_looked_up_and_nothing_else_moves(clip: Path, tmp_path: Path) -> None:
    data, config = Dataset(clip), FitConfig(device="cpu", batch=4, initial_gaussians=1500, gaussians=1500)
    speech = listen(data, config, tmp_path)
    footage = Footage(data, speech.contexts, config, torch.device("cpu"))
    held, train = torch.tensor(footage.held_out.all), list(footage.train)
    run = begin(footage, data, speech, config)
    settings = RenderSettings(footage.background, footage.intrinsics, "auto", "float32")
    with torch.no_grad():
        run.corrections.head[held] = torch.tensor([0.01, -0.02, 0.01, 0.02, -0.01, 0.0])
        run.corrections.head[train] = 0.001
    trainer = Trainer(run, footage, settings, config, None, Silent(), lambda: None, Stop())
    before = {name: value.detach().clone() for name, value in run.state()[0].items() if value.is_floating_point()}

    look_up(trainer)  # nothing was drawn yet: a share of nothing
    torch.testing.assert_close(run.corrections.head, before["corrections.value.head"], rtol=0, atol=0)

    rounds = 45
    run.history = [{"stage": STATIC, "step": 20}, {"stage": STATIC, "step": round(rounds * len(held) / (4 * 0.02)) + 1}]
    wide = held_out_psnr(run.gaussians.gaussians(), run.network, footage, settings, run.corrections)
    look_up(trainer)
    near = held_out_psnr(run.gaussians.gaussians(), run.network, footage, settings, run.corrections)
    assert wide is not None and near is not None and near > wide + 0.15, (wide, near)

    after = {name: value.detach() for name, value in run.state()[0].items() if value.is_floating_point()}
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert moved == {"corrections.value.head", "corrections.value.torso"}
    assert torch.equal(after["corrections.value.head"][train], before["corrections.value.head"][train])
    assert all(parameter.grad is None for parameter in run.parameters())


def test_how_well_frames_are_posed_is_told_without_their_lips(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, config = Dataset(clip), FitConfig(device="cpu", batch=4, initial_gaussians=800, gaussians=800)
    speech = listen(data, config, tmp_path)
    footage = Footage(data, speech.contexts, config, torch.device("cpu"))
    run = begin(footage, data, speech, config)
    settings = RenderSettings(footage.background, footage.intrinsics, "auto", "float32")
    trainer = Trainer(run, footage, settings, config, None, Silent(), lambda: None, Stop())
    as_begun = fidelity(trainer)
    batch_of = footage.batch

    def painted(frames: Sequence[int], lips: bool) -> Batch:
        batch = batch_of(frames)
        inside = box_mask(batch.lips[:, None], *batch.mask.shape[1:])[..., None].bool()
        return replace(batch, truth=torch.where(inside == lips, 1 - batch.truth, batch.truth))

    monkeypatch.setattr(footage, "batch", lambda frames: painted(frames, True))
    assert fidelity(trainer) == pytest.approx(as_begun, abs=1e-6)
    monkeypatch.setattr(footage, "batch", lambda frames: painted(frames, False))
    assert fidelity(trainer) < as_begun - 1


def test_dropout_acts_where_something_is_learned_only(clip: Path, tmp_path: Path) -> None:
    """Held-out frames are looked at, and their poses looked up, with the whole network."""
    data = Dataset(clip)
    config = FitConfig(
        device="cpu", batch=2, initial_gaussians=800, gaussians=800, dropout=0.5, pretrained_parts="network"
    )
    speech = listen(data, config, tmp_path)
    footage = Footage(data, speech.contexts, config, torch.device("cpu"))
    run = begin(footage, data, speech, config)
    settings = RenderSettings(footage.background, footage.intrinsics, "auto", "float32")
    trainer = Trainer(run, footage, settings, config, None, Silent(), lambda: None, Stop())
    batch = footage.batch(footage.train[:2])
    losses = {float(trainer.learn(Stage(NETWORK, 1), batch, True).numbers["loss"]) for _ in range(3)}
    assert len(losses) == 3, "dropout drew the same frames differently"
    seen = {held_out_psnr(run.gaussians.gaussians(), run.network, footage, settings) for _ in range(3)}
    assert len(seen) == 1
