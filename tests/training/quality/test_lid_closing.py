"""How far lids shut, by the deformation and by landmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from being.dataset import Dataset
from being.model import DeformationNetwork, Offsets
from being.synthetic import generate
from being.training.config import FitConfig
from being.training.data.footage import Footage
from being.training.data.speech import listen
from being.training.fit import begin
from being.training.model.lid_motion import DEPTHS, PART, UPPER, LidMotion
from being.training.quality.lid_closing import LidClosing, closing_share, lid_gaps

CONFIG = FitConfig(device="cpu", initial_gaussians=200, gaussians=200)


class HalfWay:
    """Moves every upper lid by `share` of the film's way: what a network would be asked for."""

    def __init__(self, network: DeformationNetwork, footage: Footage, lids: LidMotion, share: float) -> None:
        self.config, self.canonical_features = network.config, network.canonical_features
        self._gap, self._share, self._footage = lids.gap(lids.filmed), share, footage

    def condition_tokens(self, conditions: object) -> torch.Tensor:
        closure = conditions.eye[:, 0]  # type: ignore[attr-defined]
        order = self._footage.closure[:, 0]
        return torch.stack([self._gap[(order - value).abs().argmin()] for value in closure])

    def offsets(self, features: torch.Tensor, tokens: torch.Tensor) -> Offsets:
        moved = torch.zeros(len(tokens), len(DEPTHS), PART.stop - PART.start, 3)
        for lid in UPPER:
            moved[:, :, lid - PART.start, 1] = self._share * tokens[:, None]
        nothing = torch.zeros(0)
        return Offsets(moved.flatten(1, 2), nothing, nothing, nothing, nothing)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_the_share_of_the_films_way(tmp_path: Path, share: float) -> None:
    data = Dataset(generate(tmp_path / "person", seconds=5.0, seed=4, size=(48, 48), workers=2))
    speech = listen(data, CONFIG, tmp_path)
    footage = Footage(data, speech.contexts, CONFIG, torch.device("cpu"))
    lids = LidMotion(footage)
    network = begin(footage, data, speech, CONFIG).network
    half: DeformationNetwork = HalfWay(network, footage, lids, share)  # type: ignore[assignment]
    every = range(footage.frames)
    assert LidClosing(half, footage, lids).share(every) == pytest.approx(share, abs=0.03)
    assert LidClosing(network, footage, lids).share(every) == 0  # at rest
    awake = [frame for frame in every if footage.closure[frame, 0] == 0]
    assert LidClosing(half, footage, lids).share(awake) is None


def test_gaps_of_landmarks_do_not_know_the_size(clip: Path) -> None:
    marks = np.stack([Dataset(clip).landmarks(frame) for frame in range(4)])
    np.testing.assert_allclose(lid_gaps(2 * marks + 5), lid_gaps(marks), rtol=1e-4)
    closure = np.array([0, 0, 1, 1], np.float32)
    film, drawn = np.array([0.2, 0.2, 0, 0], np.float32), np.array([0.3, 0.3, 0.2, 0.2], np.float32)
    assert closing_share(film, drawn, closure) == pytest.approx(0.5)
    assert closing_share(film, drawn, 0 * closure) is None
