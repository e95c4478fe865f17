"""The audio token amplified after training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from being.dataset import Dataset
from being.model import DeformationNetwork, NetworkConfig
from being.training import audio_gain
from being.training.audio_gain import amplify
from being.training.config import FitConfig
from being.training.data.footage import Footage
from being.training.model.lip_motion import MIDDLE, LipMotion
from being.training.model.pretrained import at_rest


class Opening(DeformationNetwork):
    """Moves the lower inner lip down by what the first number of the sound says, as loud as its audio token is."""

    def condition_tokens(self, conditions):  # type: ignore[no-untyped-def]
        return self.audio_token.out.weight[0, 0] * conditions.audio[:, -1, -1, :1, None]

    def offsets(self, features, tokens, audio_gate=None, *, recompute=False):  # type: ignore[no-untyped-def]
        still = super().offsets(features, tokens.new_zeros(len(tokens), 5, 64), audio_gate)
        still.xyz[:, 66 - 48, 1] -= tokens[:, 0, 0]
        return still


def amplified(clip: Path, share: float, most: float, monkeypatch: pytest.MonkeyPatch) -> float:
    """The gain of a network that opens held-out mouths by a share of what was filmed."""
    monkeypatch.setattr(audio_gain, "FEWEST", 3)
    data = Dataset(clip)
    contexts = np.zeros((data.frames, 8, 16, 4), np.float32)
    footage = Footage(data, contexts, FitConfig(), torch.device("cpu"))
    lips = LipMotion(footage)
    filmed = -lips.filmed[:, MIDDLE].numpy()
    rest = np.median(filmed[list(footage.train)])
    contexts[:, -1, -1, 0] = share * (filmed - rest)
    footage.contexts = torch.from_numpy(contexts)
    torch.manual_seed(0)
    network = Opening(NetworkConfig(audio_width=4, plane_resolutions=(8,), plane_channels=64)).eval()
    at_rest(network)
    with torch.no_grad():
        network.audio_token.out.weight.fill_(1)
    found = amplify(network, footage, lips, most)
    assert float(network.audio_token.out.weight.detach().mean()) == pytest.approx(found)
    return found


def test_a_mouth_that_opens_as_filmed_is_left_alone(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert amplified(clip, 1.0, 1.5, monkeypatch) <= 1.1


def test_one_that_opens_too_little_is_amplified_as_far_as_allowed(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert amplified(clip, 0.4, 1.3, monkeypatch) == 1.3
    assert amplified(clip, 0.4, 1.0, monkeypatch) == 1.0


def test_one_that_does_not_follow_the_film_is_not(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([(0.5, 0.6), (0.6, 0.59), (0.7, 0.5), (0.8, 0.9)])
    monkeypatch.setattr(audio_gain, "_scores", lambda *_: next(scores))
    assert amplified(clip, 0.4, 1.3, monkeypatch) == 1.1
    monkeypatch.setattr(audio_gain, "_scores", lambda *_: (0.5, float("nan")))
    assert amplified(clip, 0.4, 1.3, monkeypatch) == 1.0
