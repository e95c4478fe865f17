"""A finished avatar names the fastest form of its network that draws unseen frames as well."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from being.audio.features import FeatureSpec
from being.audio.windows import WindowSpec
from being.avatar.consent import ConsentRecord
from being.avatar.folder import Avatar
from being.dataset import Dataset
from being.training import FitConfig
from being.training.approximation import fastest_form, with_fastest_form
from being.training.data.footage import Footage
from being.training.data.speech import Speech
from being.training.export import finished, record_tokens
from being.training.fit import begin


@pytest.fixture(scope="module")
def scene(clip: Path) -> tuple[Avatar, Footage]:
    """A face that moves as the demo's would, its Gaussians as seeded."""
    data = Dataset(clip)
    contexts = np.random.default_rng(0).normal(0, 1, (data.frames, 8, 16, 32)).astype(np.float32)
    spoken, quiet = np.ones(data.frames, bool), np.zeros(data.frames, np.float32)
    speech = Speech(FeatureSpec(name="phones"), WindowSpec(look_ahead=1), contexts, spoken, quiet)
    config = FitConfig(initial_gaussians=600, gaussians=600, pretrained_parts="network", device="cpu")
    footage = Footage(data, contexts, config, torch.device("cpu"))
    run = begin(footage, data, speech, config)
    record_tokens(run, footage)
    return finished(run, footage, data, speech, {}, "new", "New", ConsentRecord()), footage


def test_the_fastest_form_that_loses_little_is_taken(scene: tuple[Avatar, Footage]) -> None:
    avatar, footage = scene
    choice = fastest_form(avatar, footage)
    assert choice.form == "pca" and abs(choice.lost) <= 0.3
    assert avatar.manifest.approximation == "full"
    found, line = with_fastest_form(avatar, footage)
    assert found.manifest.approximation == "pca" and line.startswith("pca, ")


def test_a_form_that_loses_more_is_not_taken(scene: tuple[Avatar, Footage]) -> None:
    choice = fastest_form(*scene, tolerance=-100.0)
    assert (choice.form, choice.lost) == ("full", 0.0)


def test_without_numba_the_full_network_stays(scene: tuple[Avatar, Footage], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "being.inference.backends.cpu", None)
    found, line = with_fastest_form(*scene)
    assert found is scene[0] and line.startswith("full; no faster form was tried")
