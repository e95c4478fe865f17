"""Part labels of Gaussians, and what counts in an open mouth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from being.dataset import Dataset
from being.dataset.landmarks import triangulate
from being.training.config import FitConfig, LearningRates
from being.training.data.face import face_region
from being.training.data.footage import Footage
from being.training.loss.mouth import INNER, TEETH, mouth_interior
from being.training.model.drawing import RenderSettings
from being.training.model.init import seed_gaussians
from being.training.model.parameters import GaussianParameters
from being.training.model.part_labels import NECK_GATE, update_part_labels, updated_labels


def test_strayed_gaussians_are_told_whose_they_are(clip: Path) -> None:
    data = Dataset(clip)
    contexts = np.zeros((data.frames, 8, 16, 4), np.float32)
    footage = Footage(data, contexts, FitConfig(), torch.device("cpu"))
    seeded = seed_gaussians(footage, 600, np.random.default_rng(0))
    parameters = GaussianParameters(seeded, LearningRates())
    with torch.no_grad():  # everybody listens and nobody follows the head
        parameters.audio_gate[:] = 1.0
        parameters.values["head_weight"][:] = 0.0
    settings = RenderSettings(footage.background, footage.intrinsics, "auto", "float32")
    reach = face_region(footage)
    for _ in range(4):
        update_part_labels(parameters, footage, settings, reach)
    on_head, on_torso = seeded.head_weight == 1, seeded.head_weight == 0
    on_face = on_head & (reach(seeded.xyz) == 1)
    weight, gate = parameters.values["head_weight"].detach(), parameters.audio_gate
    assert float(weight[on_head].median()) > 0.85 and float(weight[on_torso].median()) < 0.05
    assert float(gate[on_face].median()) > 0.85 and float(gate[on_torso].median()) < 0.05


def test_sound_reaches_the_face_and_not_the_hair(clip: Path) -> None:
    data = Dataset(clip)
    footage = Footage(data, np.zeros((data.frames, 8, 16, 4), np.float32), FitConfig(), torch.device("cpu"))
    reach = face_region(footage)
    marks = triangulate(footage.landmarks, footage.head_poses.double().numpy(), footage.intrinsics.double().numpy())
    assert bool((reach(torch.from_numpy(marks).float()) == 1).all())
    middle, width = marks.mean(0), np.ptp(marks[:, 0])
    away = [middle + width * np.array(step) for step in ((0, 1.0, 0), (0.9, 0, 0), (-0.9, 0.3, -0.5), (0, -1.5, 0))]
    assert not reach(torch.tensor(np.array(away)).float()).any()
    edge = torch.tensor([[float(middle[0]), float(marks[:, 1].max() + 0.12 * width), 0.0]])
    assert 0 < float(reach(edge)) < 1


def test_the_neck_keeps_its_blend_and_hidden_gaussians_are_not_judged() -> None:
    mass = torch.tensor([[9.0, 0, 0], [0, 9, 0], [0, 0, 9], [3, 3, 3], [0.01, 0, 0]])
    before = torch.tensor([0.2, 0.6, 0.7, 0.5, 0.3])
    weight, gate = updated_labels(mass, torch.ones(5), before, torch.full((5,), 0.9))
    torch.testing.assert_close(weight, torch.tensor([1.0, 0.6, 0.0, 0.5, 0.3]))
    hair = updated_labels(mass, torch.zeros(5), before, torch.full((5,), 0.9))
    torch.testing.assert_close(hair[0], weight)
    assert float(hair[1][0]) == 0 and float(hair[1][1]) == float(gate[1])
    torch.testing.assert_close(gate[:3], torch.tensor([1.0, NECK_GATE * 0.6, 0.0]))
    assert float(gate[4]) == pytest.approx(0.9)


def test_teeth_are_the_pale_part_of_an_open_mouth() -> None:
    image = np.full((60, 60, 3), (180, 90, 80), np.uint8)  # lips
    image[25:36, 20:41] = (40, 15, 15)  # the dark inside
    image[25:29, 22:39] = (220, 215, 200)  # the upper teeth
    marks = np.zeros((68, 2), np.float32)
    marks[60:68] = [[20, 30], [24, 25], [30, 25], [36, 25], [40, 30], [36, 36], [30, 36], [24, 36]]
    bits = mouth_interior(image, marks)
    assert bits[26, 30] == TEETH and bits[33, 30] == INNER
    assert not bits[:24].any() and not bits[:, :19].any() and set(np.unique(bits)) == {0, INNER, TEETH}
    known = np.zeros((60, 60), bool)
    known[34:36, 28:32] = True  # what the capture found goes before what is found here
    bits = mouth_interior(image, marks, known)
    assert bits[35, 30] == TEETH and bits[26, 30] == INNER and int((bits == TEETH).sum()) == 8
    marks[60:68, 1] = 30
    assert not mouth_interior(image, marks).any()  # shut lips have no inside
    marks[60:68] += 500
    assert not mouth_interior(image, marks).any()
