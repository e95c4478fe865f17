"""The assessment's sentences, the mouth's figures, and speeches compared over one motion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from being.dataset import Dataset
from being.model import DeformationNetwork, NetworkConfig
from being.training.config import FitConfig
from being.training.data.footage import Footage
from being.training.loss.losses import psnr
from being.training.model.drawing import RenderSettings
from being.training.model.init import bounding_box, seed_gaussians
from being.training.quality.assessment import Seen, assess, look_at
from being.training.quality.evaluate import exposed
from being.training.quality.lip_sync import of_landmarks
from being.training.quality.novel_speech import Flicker, flicker, three_speeches

GOOD = Seen(seconds=60, talking=50, widest=0.4, shut=0.2, turn=20, blinks=9)


def test_good_footage_gets_one_good_sentence() -> None:
    metrics = {"held_out_psnr": 31.0, "inner_psnr": 31.0, "end_psnr": 31.0, "mouth_landmarks_px": 1.5}
    assert any("does not move" in sentence for sentence in assess(GOOD, metrics, 33.0, None, steps=9000))
    metrics["mouth_opening_correlation"] = 0.9
    words = assess(GOOD, metrics, 33.0, Flicker(2.0, 0.3, 0.1), steps=9000)
    assert len(words) == 2 and "31.0 dB" in words[0] and "follows unseen speech" in words[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"widest": 0.05}, "never opens wide"),
        ({"shut": 0.0}, "hardly ever shut"),
        ({"blinks": 0}, "Nobody blinks"),
        ({"turn": 2.0}, "turns by 2 degrees only"),
        ({"talking": 4.0}, "4 s of speech"),
        ({"emotions": ("smile", "brows_up")}, "can be asked to: smile, brows up"),
    ],
)
def test_what_the_footage_lacks_or_shows_is_said(change: dict[str, float], said: str) -> None:
    words = assess(replace(GOOD, **change), {"held_out_psnr": 29.0}, 30.0, None, steps=9000)
    assert any(said in sentence for sentence in words) and "a little soft" in words[0]


def test_what_the_training_lacks_is_said() -> None:
    metrics = {"held_out_psnr": 24.0, "inner_psnr": 28.0, "end_psnr": 22.0, "mouth_opening_correlation": 0.2}
    words = " ".join(assess(GOOD, metrics, 33.0, Flicker(5, 2, 0.9), steps=100))
    for said in ("24.0 dB only", "by heart", "100 steps only", "The end of the footage", "correlation 0.20", "flicker"):
        assert said in words


def test_footage_is_measured(clip: Path) -> None:
    data = Dataset(clip)
    footage = Footage(data, np.zeros((data.frames, 8, 16, 4), np.float32), FitConfig(), torch.device("cpu"))
    seen = look_at(footage, data, 0.5)
    assert seen.seconds == len(footage.train) / 25 and seen.talking == seen.seconds / 2
    assert 0 < seen.widest < 1 and 0 <= seen.turn < 60


def test_landmarks_are_compared_where_they_differ() -> None:
    filmed = np.random.default_rng(0).normal(100, 10, (20, 68, 2)).astype(np.float32)
    drawn = filmed.copy()
    drawn[:, 48:68, 0] += 2
    same, moved = of_landmarks(filmed, filmed), of_landmarks(filmed, drawn)
    assert same.mouth_px == 0 and same.opening_correlation == pytest.approx(1)
    assert moved.mouth_px == pytest.approx(2, abs=1e-4) and moved.all_px == pytest.approx(2 * 20 / 68, abs=1e-4)
    filmed[:, 62] = filmed[:, 66]  # a mouth that never opens correlates with nothing
    assert np.isnan(of_landmarks(filmed, drawn).opening_correlation)


def test_fitted_exposure_takes_out_a_gain_and_nothing_else() -> None:
    truth = 0.2 + 0.5 * torch.rand(1, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, 8, 8)
    dim = truth * torch.tensor([0.8, 0.9, 1.1])
    assert float(psnr(exposed(dim, truth, mask), truth, mask)) > 80
    assert float(psnr(exposed(truth.flip(1), truth, mask), truth, mask)) < 30


def test_only_listening_parts_flicker(clip: Path) -> None:
    data = Dataset(clip)
    footage = Footage(data, np.zeros((data.frames, 8, 16, 4), np.float32), FitConfig(), torch.device("cpu"))
    gaussians = seed_gaussians(footage, 400, np.random.default_rng(0))
    torch.manual_seed(0)
    network = DeformationNetwork(
        NetworkConfig(audio_width=4, plane_resolutions=(8, 16), aabb=bounding_box(gaussians))
    ).eval()
    for head in network.heads.values():
        torch.nn.init.normal_(head[-1].weight, std=0.05)  # type: ignore[index]
    settings = RenderSettings(footage.background, footage.intrinsics, "auto", "float32")
    generator = np.random.default_rng(1)
    voices = [3 * generator.normal(size=(10, 8, 16, 4)).astype(np.float32) for _ in range(3)]
    found = flicker(gaussians, network, footage, settings, voices, frames=4)
    assert found.head > found.neck > found.torso and found.head > 50 * found.torso
    still = flicker(gaussians, network, footage, settings, [voices[0], voices[0]], frames=4)
    assert still == Flicker(0, 0, 0)


def test_three_speeches_differ_at_every_time() -> None:
    pcm = np.arange(300, dtype=np.float32)
    a, b, c = three_speeches(pcm)
    assert len(a) == len(b) == len(c) == 300 and not (a == b).any() and not (b == c).any() and not (a == c).any()
