"""A captured step is the plain step. On a CPU its segments run their bodies anew; on a GPU they are replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import ref

import pytest
import torch
from torch import Tensor

from being.dataset import Dataset
from being.progress import Progress, Silent
from being.training.captured import CapturedStep, GraphMemory, Learning, Pass, Scene
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
    loss=LossWeights(lip_motion=0.3, detail=0.5), rehearsal=0.3, lip_opening_weight=1.0, sharpening=2,
)  # fmt: skip


def trained(
    clip: Path,
    work: Path,
    captured: bool,
    whole: int | None = None,
    progress: Progress | None = None,
    steps: int = STEPS,
    keep: str = "device",
) -> tuple[Trainer, list[dict[str, float]]]:
    data = Dataset(clip)
    speech = listen(data, CONFIG, work)
    kept = CONFIG.model_copy(update={"keep_frames": keep})
    footage = Footage(data, speech.contexts, kept, DEVICE, rehearsal=speech.rehearsal)
    run = begin(footage, data, speech, CONFIG)
    settings = RenderSettings(footage.background, footage.intrinsics, "auto", "float32")
    trainer = Trainer(run, footage, settings, CONFIG, None, progress or Silent(), lambda: None, Stop())
    step = CapturedStep(Scene(run, footage, settings, CONFIG, None, trainer.motion))
    taken: Any = step if whole is None else FailingStep(step, whole)
    trainer.captured = taken if captured else None
    for stage in (Stage(STATIC, steps), Stage(NETWORK, steps)):
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


class FailingStep:
    """Steps that can be captured at first, and then not."""

    def __init__(self, captured: CapturedStep, whole: int) -> None:
        self.captured, self.left = captured, whole

    def __call__(self, *arguments: Any) -> dict[str, torch.Tensor]:
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("operation not permitted when stream is capturing\nmore of it")
        return self.captured(*arguments)


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str, **values: object) -> None:
        self.notes.append(text)


def test_what_cannot_be_captured_goes_on_plainly(clip: Path, tmp_path: Path) -> None:
    plain, wanted = trained(clip, tmp_path, captured=False)
    notes = Notes()
    trainer, found = trained(clip, tmp_path, captured=True, whole=2, progress=notes)
    assert trainer.captured is None
    assert [note.splitlines()[0] for note in notes.notes] == notes.notes and len(notes.notes) == 1
    assert "not permitted when stream is capturing" in notes.notes[0]
    for name, value in plain.run.state()[0].items():
        if value.numel() and name.startswith("network."):
            assert float((trainer.run.state()[0][name].float() - value.float()).abs().mean()) < 5e-3, name
    assert wanted[-1]["loss"] == pytest.approx(found[-1]["loss"], rel=1e-3 if DEVICE.type == "cpu" else 0.05)


def test_graphs_are_for_one_gpu_unless_told_otherwise(clip: Path, tmp_path: Path) -> None:
    assert CONFIG.cuda_graphs
    trainer, _ = trained(clip, tmp_path, captured=False, steps=0)
    assert trainer.captures() == (DEVICE.type == "cuda")
    trainer.config = CONFIG.model_copy(update={"cuda_graphs": False})
    assert not trainer.captures()


def test_nothing_of_the_last_capture_is_held_when_its_memory_is_given_back(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tensor that somebody holds would hold its memory; with each capture more of it."""
    made: list[ref[Tensor]] = []
    held: list[int] = []
    pose, back = Pass.pose, Learning.back

    def posing(self: Pass) -> None:
        pose(self)
        made.extend(map(ref, [*self.outputs, *self.leaves, self.penalty]))

    def going_back(self: Learning) -> None:
        back(self)
        made.extend(ref(slope) for slope in self.learned.values() if slope is not None)

    monkeypatch.setattr(Pass, "pose", posing)
    monkeypatch.setattr(Learning, "back", going_back)
    monkeypatch.setattr(GraphMemory, "renew", lambda self: held.append(sum(tensor() is not None for tensor in made)))
    trained(clip, tmp_path, captured=True)
    assert len(made) > 100
    assert len(held) > 2 and not any(held)
