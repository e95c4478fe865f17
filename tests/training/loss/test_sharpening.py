"""What is taught is sharper than the film, as far as what is drawn is softer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from being.dataset import Dataset
from being.training.config import FitConfig
from being.training.data.footage import Footage
from being.training.data.speech import listen
from being.training.fit import begin
from being.training.loss.sharpening import LOOKS, RINGS, TargetSharpening
from being.training.quality.spectrum import band_levels

SIDE = 96
WINDOW = torch.tensor([[16, 16]]), 64
BOX = (24, 24, 72, 72)


def film(seed: int = 0) -> Tensor:
    noise = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    return (0.3 + 0.4 * F.avg_pool2d(noise, 3, 1, 1)).permute(0, 2, 3, 1).contiguous()


def softened(picture: Tensor, share: float) -> Tensor:
    """How somebody taught `picture` is drawn, where this share of the fine amplitude can be predicted."""
    coarse = F.avg_pool2d(picture.permute(0, 3, 1, 2), 7, 1, 3).permute(0, 2, 3, 1)
    return coarse + share * (picture - coarse)


def levels(drawn: Tensor, truth: Tensor) -> dict[str, float]:
    a, b = ((255 * part[0]).round().byte().numpy() for part in (drawn, truth))
    return band_levels([a], [b], [BOX])


def taught_after(share: float, most: float, looks: int = 4) -> tuple[Tensor, TargetSharpening]:
    truth, whole = film(), torch.ones(1, SIDE, SIDE)
    sharpening = TargetSharpening(most, torch.device("cpu"))
    for _ in range(looks):
        sharpening.look(softened(sharpening.taught(truth, whole, *WINDOW), share), truth, [BOX])
    return sharpening.taught(truth, whole, *WINDOW), sharpening


def test_a_face_that_is_drawn_soft_ends_as_sharp_as_the_film() -> None:
    before = levels(softened(film(), 0.6), film())
    assert before["high"] < -4 and before["fine"] < -3
    after = levels(softened(taught_after(0.6, 2.5)[0], 0.6), film())
    assert abs(after["high"] + 1) < 0.6 and abs(after["fine"] + 1) < 0.6  # `SHORT` of it
    assert abs(after["coarse"]) < 0.3


def test_a_face_that_is_sharp_is_taught_as_filmed() -> None:
    taught, sharpening = taught_after(1.0, 2.5)
    assert float((taught - film()).abs().max()) < 1e-3
    assert float(sharpening.gains.max()) < 1.01


def test_it_goes_as_far_as_was_said() -> None:
    assert float(taught_after(0.3, 1.5, looks=9)[1].gains.max()) == pytest.approx(1.5)


def test_switched_off_it_is_the_film_itself() -> None:
    truth = film()
    sharpening = TargetSharpening(1.0, torch.device("cpu"))
    assert sharpening.taught(truth, torch.ones(1, SIDE, SIDE), *WINDOW) is truth
    assert not sharpening.due(1.0)


def test_outlines_and_what_is_outside_the_window_stay() -> None:
    truth, (corners, side) = film(), WINDOW
    sharpening = taught_after(0.5, 2.5)[1]
    person = torch.zeros(1, SIDE, SIDE)
    person[:, :, :48] = 1  # its outline runs through the window
    changed = (sharpening.taught(truth, person, corners, side) - truth).abs().amax(-1)[0] > 0
    assert changed[20:76, 20:40].float().mean() > 0.9
    assert not changed[:, 48 - 5 :].any()
    assert not changed[:16].any() and not changed[80:].any() and not changed[:, :16].any()


def test_looks_are_spread_over_the_stage() -> None:
    sharpening = TargetSharpening(2.0, torch.device("cpu"))
    taken = 0
    for step in range(100):
        if sharpening.due(step / 100):
            sharpening.set(torch.ones(RINGS), sharpening.looks + 1)
            taken += 1
    assert taken == len(LOOKS)


def test_a_run_goes_on_with_what_it_had_found(clip: Path, tmp_path: Path) -> None:
    config = FitConfig(device="cpu", initial_gaussians=300, gaussians=400, sharpening=2.0)
    data = Dataset(clip)
    speech = listen(data, config, tmp_path)
    footage = Footage(data, speech.contexts, config, torch.device("cpu"))
    run, again = (begin(footage, data, speech, config) for _ in range(2))
    run.sharpening.set(torch.linspace(1, 2, RINGS), 3)
    again.load_state(*run.state())
    assert again.sharpening.looks == 3 and torch.equal(again.sharpening.gains, run.sharpening.gains)
    truth, whole = film(), torch.ones(1, SIDE, SIDE)
    assert torch.equal(again.sharpening.taught(truth, whole, *WINDOW), run.sharpening.taught(truth, whole, *WINDOW))
    assert not torch.equal(again.sharpening.taught(truth, whole, *WINDOW), truth)
