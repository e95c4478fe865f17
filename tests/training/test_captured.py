"""A captured step is the plain step. On a CPU its segments run their bodies anew; on a GPU they are replayed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from being.dataset import Dataset
from being.progress import Silent
from being.training.captured import CapturedStep, Scene
from being.training.config import FitConfig, LossWeights
from being.training.data.footage import Footage
from being.training.data.speech import listen
from being.training.fit import begin
from being.training.loop import PLAIN_STEPS, Stop, Trainer, densify_policy
from being.training.model.drawing import RenderSettings
from being.training.schedule import NETWORK, STATIC, Stage

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
STEPS = PLAIN_STEPS + 5
CONFIG = FitConfig(
    device=DEVICE.type, batch=3, initial_gaussians=600, gaussians=800, feature_noise=0.3,
    loss=LossWeights(lip_motion=0.3),
)  # fmt: skip


def trained(clip: Path, work: Path, captured: bool, keep: str = "device") -> tuple[Trainer, list[dict[str, float]]]:
    data = Dataset(clip)
    speech = listen(data, CONFIG, work)
    footage = Footage(data, speech.contexts, CONFIG.model_copy(update={"keep_frames": keep}), DEVICE)
    run = begin(footage, data, speech, CONFIG)
    settings = RenderSettings(footage.background, footage.intrinsics, "auto", "float32")
    trainer = Trainer(run, footage, settings, CONFIG, None, Silent(), lambda: None, Stop())
    trainer.captured = CapturedStep(Scene(run, footage, settings, CONFIG, None, trainer.lips)) if captured else None
    for stage in (Stage(STATIC, STEPS), Stage(NETWORK, STEPS)):
        trainer.train_stage(stage)
        run.position = type(run.position)(stage=run.position.stage + 1)
        trainer.densify(stage, densify_policy(CONFIG, stage))  # another number of Gaussians
    return trainer, run.history


@pytest.mark.parametrize("keep", ["device", "folder"])
def test_it_learns_what_the_plain_step_learns(clip: Path, tmp_path: Path, keep: str) -> None:
    plain, wanted = trained(clip, tmp_path, captured=False)
    ours, found = trained(clip, tmp_path, captured=True, keep=keep)
    assert ours.footage.resident == (keep == "device")
    assert [list(point) for point in found] == [list(point) for point in wanted]
    most = 1e-4 if DEVICE.type == "cpu" else 5e-3  # Adam makes steps of last bits where gradients are none
    for name, value in plain.run.state()[0].items():
        if value.numel() and name != "generator":
            assert float((ours.run.state()[0][name].float() - value.float()).abs().mean()) < most, name
    assert ours.captured is not None
    for parameter, slope in ours.captured.learned.items():  # as the fused optimizer takes for granted on a GPU
        assert slope is None or slope.stride() == parameter.stride()
    moved = plain.run.corrections.head[list(plain.footage.held_out.all)].abs().sum()
    assert float(moved.detach()) > 0
    assert wanted[-1]["loss"] == pytest.approx(found[-1]["loss"], rel=1e-3 if DEVICE.type == "cpu" else 0.05)


def test_pictures_decoded_at_each_use_teach_the_same(clip: Path, tmp_path: Path) -> None:
    kept, wanted = trained(clip, tmp_path, captured=False)
    streamed, found = trained(clip, tmp_path, captured=False, keep="folder")
    assert found == wanted or DEVICE.type != "cpu"
    if DEVICE.type == "cpu":
        for name, value in kept.run.state()[0].items():
            torch.testing.assert_close(streamed.run.state()[0][name], value, rtol=0, atol=0)
