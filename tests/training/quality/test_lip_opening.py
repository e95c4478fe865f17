"""The deformation's own opening of the mouth, held against the film's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from being.dataset import Dataset
from being.model import DeformationNetwork, NetworkConfig
from being.training.config import FitConfig
from being.training.data.footage import Footage
from being.training.model.lip_motion import LipMotion
from being.training.model.pretrained import at_rest
from being.training.quality.lip_opening import MIDDLE, LipOpening, opening_scores


class Told(DeformationNetwork):
    """Moves the lower inner lip down by what the first number of the sound says, dm."""

    def condition_tokens(self, conditions):  # type: ignore[no-untyped-def]
        return conditions.audio[:, -1, -1, :1, None]

    def offsets(self, features, tokens, audio_gate=None, *, recompute=False):  # type: ignore[no-untyped-def]
        still = super().offsets(features, tokens.new_zeros(len(tokens), 5, 64), audio_gate)
        still.xyz[:, 66 - 48, 1] -= tokens[:, 0, 0]
        return still


def opening_of(clip: Path, share: float) -> tuple[LipOpening, Footage]:
    """Of a network that opens the mouth by a share of what was filmed."""
    data = Dataset(clip)
    contexts = np.zeros((data.frames, 8, 16, 4), np.float32)
    filmed = -LipMotion(Footage(data, contexts, FitConfig(), torch.device("cpu"))).filmed[:, MIDDLE]
    contexts[:, -1, -1, 0] = share * (filmed - filmed.median()).numpy()
    footage = Footage(data, contexts, FitConfig(), torch.device("cpu"))
    torch.manual_seed(0)
    network = Told(NetworkConfig(audio_width=4, plane_resolutions=(8,), plane_channels=64)).eval()
    at_rest(network)
    return LipOpening(network, footage, LipMotion(footage)), footage


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_mouth_that_opens_by_half_is_told_so(clip: Path, share: float) -> None:
    opening, footage = opening_of(clip, share)
    quiet = np.zeros(footage.frames, np.float32)
    scores = opening_scores(opening, footage.train, quiet)
    film = opening.filmed[list(footage.train)]
    gap = np.linalg.norm(footage.landmarks[:, 62] - footage.landmarks[:, 66], axis=1)
    assert np.corrcoef(gap, opening.filmed)[0, 1] > 0.8, "an open mouth is a large opening"
    rest, wide = float(np.median(film)), float(np.percentile(film, 95))
    assert scores["opening"] == pytest.approx((rest + share * (wide - rest)) / wide, abs=0.02)
    assert scores["correlation"] == pytest.approx(1.0, abs=1e-3) and scores["spoken_opening"] == scores["opening"]
    quiet[list(footage.train)] = 1
    assert set(opening_scores(opening, footage.train, quiet)) == {"opening", "correlation"}


def test_other_speech_moves_the_lips_by_its_own_sound(clip: Path) -> None:
    opening, footage = opening_of(clip, 1.0)
    other = footage.contexts[:3].clone()
    other[:, -1, -1, 0] = torch.tensor([0.0, 0.1, 0.2])
    found = opening.of_speech(other, footage.train[0])
    np.testing.assert_allclose(found - found[0], [0.0, 0.1, 0.2], atol=1e-5)


def test_poses_that_were_looked_up_do_not_move_what_is_asked(clip: Path) -> None:
    opening, footage = opening_of(clip, 1.0)
    before = opening.of_frames(footage.train)
    nearer = footage.head_poses.clone()
    nearer[::2, 0, 3] += 0.02
    footage.adopt(nearer, footage.torso_poses)
    again = LipOpening(opening._network, footage, opening._lips)
    np.testing.assert_array_equal(again.filmed, opening.filmed)
    np.testing.assert_allclose(again.of_frames(footage.train), before, atol=1e-6)
