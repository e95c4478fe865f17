"""The footage's sound in other voices keeps its place in time, and is drawn as often as the film's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from being.audio.extractors import load_extractor
from being.audio.features import STEP, FeatureSpec
from being.dataset import Dataset
from being.training.config import FitConfig
from being.training.data.footage import Footage
from being.training.data.speech import listen
from being.training.data.voices import features_at, in_other_voices

LOGMEL = load_extractor(FeatureSpec(name="logmel"))


def bursts(at: list[int], steps: int, hertz: float) -> np.ndarray:
    """Tones of a tenth of a second that begin with the feature steps `at`."""
    pcm = np.zeros(steps * STEP, np.float32)
    time = np.arange(5 * STEP) / 16000
    for step in at:
        pcm[step * STEP : (step + 5) * STEP] = 0.5 * np.sin(2 * np.pi * hertz * time)
    return pcm


@pytest.mark.parametrize("rate", [0.86, 1.0, 1.16])
def test_a_sound_stays_where_it_is_and_changes_its_pitch(rate: float) -> None:
    steps, at = 120, [20, 60, 100]
    pcm = bursts(at, steps, 800.0)
    found, plain = features_at(LOGMEL, pcm, steps, rate), LOGMEL(pcm, 0, steps)
    assert found.shape == plain.shape
    loud = found.max(1) > 0.5 * (found.max() + found.min())
    begins = np.flatnonzero(np.diff(loud.astype(int)) > 0) + 1
    np.testing.assert_allclose(begins, at, atol=1)
    if rate == 1.0:
        np.testing.assert_allclose(found, plain, atol=1e-6)  # sums of other lengths round otherwise
    else:
        higher = int(found[22].argmax()) - int(plain[22].argmax())
        assert np.sign(higher) == np.sign(rate - 1), "a faster sound is a higher one"


def test_no_rates_are_no_voices() -> None:
    assert in_other_voices(LOGMEL, np.zeros(3200, np.float32), 10, ()).shape == (0, 10, LOGMEL.width)


def test_every_voice_is_drawn_and_the_frame_stays_its_own(clip: Path, tmp_path: Path) -> None:
    data, config = Dataset(clip), FitConfig(sound_rates=(0.8, 1.2), feature_noise=0.0)
    speech = listen(data, config, tmp_path)
    assert [voice.shape for voice in speech.voices] == [speech.contexts.shape] * 2
    marked = replace(speech, voices=tuple(np.full_like(speech.contexts, 10.0 * (k + 1)) for k in range(2)))
    footage = Footage(data, marked.contexts, config, torch.device("cpu"), voices=marked.voices)
    batch = footage.draw(200, torch.Generator().manual_seed(0))
    voice = (batch.audio.flatten(1).mean(1) / 10).round().clamp(0, 2).long()
    assert torch.bincount(voice, minlength=3).min() > 40
    own = voice == 0
    torch.testing.assert_close(batch.audio[own], footage.contexts[batch.frames[own]])
    alone = Footage(data, speech.contexts, config, torch.device("cpu")).draw(200, torch.Generator().manual_seed(0))
    torch.testing.assert_close(alone.frames, batch.frames)
