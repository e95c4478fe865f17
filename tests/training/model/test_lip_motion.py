"""Distances between the lips, film against deformation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from being.dataset import Dataset
from being.dataset.landmarks import MOUTH
from being.training.config import FitConfig
from being.training.data.face import landmarks_of
from being.training.data.footage import Footage
from being.training.model.landmark_distances import in_head_space
from being.training.model.lip_motion import LipMotion


def footage_of(clip: Path) -> Footage:
    data = Dataset(clip)
    contexts = np.zeros((data.frames, 8, 16, 4), np.float32)
    return Footage(data, contexts, FitConfig(), torch.device("cpu"))


def test_lips_that_move_as_filmed_cost_nothing_wherever_they_rest(clip: Path) -> None:
    footage = footage_of(clip)
    lips, marks = LipMotion(footage), landmarks_of(footage)
    filmed = torch.from_numpy(in_head_space(footage, marks)[:, MOUTH]).float() - lips.points
    batch = footage.batch(range(footage.frames))
    elsewhere = filmed + torch.tensor([0.3, -0.2, 0.1]) + 0.1 * torch.randn(1, 20, 3)
    assert float(lips(elsewhere, batch, 0.5)) < 1e-6
    assert float(lips(torch.zeros_like(filmed), batch, 0.5)) > 1e-3  # the mouth does move


def test_too_little_movement_costs_more_above_the_median(clip: Path) -> None:
    footage = footage_of(clip)
    lips, marks = LipMotion(footage), landmarks_of(footage)
    filmed = torch.from_numpy(in_head_space(footage, marks)[:, MOUTH]).float() - lips.points
    batch = footage.batch(range(footage.frames))
    more, less = (torch.lerp(filmed.mean(0, keepdim=True), filmed, factor) for factor in (1.4, 0.6))
    costs = {q: [float(lips(moved, batch, q)) for moved in (more, less)] for q in (0.5, 0.8)}
    np.testing.assert_allclose(costs[0.5][0], costs[0.5][1], rtol=0.01)
    np.testing.assert_allclose(costs[0.8][1], 4 * costs[0.8][0], rtol=0.01)


def test_lips_are_led_at_every_depth(clip: Path) -> None:
    footage = footage_of(clip)
    flat, deep = LipMotion(footage), LipMotion(footage, depths=(-0.1, 0.0, 0.1))
    filmed = torch.from_numpy(in_head_space(footage, landmarks_of(footage))[:, MOUTH]).float() - flat.points
    assert torch.equal(deep.points[20:40], flat.points) and len(deep.points) == 60
    np.testing.assert_allclose((deep.points[40:] - flat.points)[:, 2], 0.1, atol=1e-6)
    batch = footage.batch(range(footage.frames))
    assert float(deep(filmed.repeat(1, 3, 1), batch, 0.5)) < 1e-6
    still = torch.zeros_like(filmed)
    one = torch.cat([filmed, still, still], 1)  # led at one of three depths alone
    np.testing.assert_allclose(float(deep(one, batch, 0.5)), 2 / 3 * float(flat(still, batch, 0.5)), rtol=1e-4)
