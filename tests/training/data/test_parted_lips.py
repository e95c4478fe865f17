"""Lips that part in silence are told to the network, and left shut when the avatar is played."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from being.dataset import Dataset
from being.training.config import FitConfig
from being.training.data.footage import Footage
from being.training.data.parted_lips import LIPS_PARTED, lips_parted, worth_telling
from being.training.data.speech import Speech, listen
from being.training.export import recorded_motion

CPU = torch.device("cpu")


def told(clip: Path, config: FitConfig, speech: Speech) -> Footage:
    return Footage(Dataset(clip), speech.contexts, config, CPU, quiet=speech.quiet)


def test_the_opening_counts_in_silence_alone_and_a_short_stop_is_speech() -> None:
    opening = np.full(12, 0.8, np.float32)
    quiet = np.array([1, 1, 1, 1, 0, 0, 1, 0, 0, 0.5, 0.5, 0.5], np.float32)
    found = lips_parted(opening, quiet)
    np.testing.assert_allclose(found, [0.8, 0.8, 0.8, 0, 0, 0, 0, 0, 0, 0, 0.4, 0.4], atol=1e-6)
    assert worth_telling(found) and not worth_telling(lips_parted(opening / 10, quiet))


def test_silence_is_where_the_phones_hear_nobody(clip: Path, tmp_path: Path) -> None:
    data, config = Dataset(clip), FitConfig()
    speech = listen(data, config, tmp_path)
    assert speech.quiet.shape == (data.frames,) and speech.quiet.min() >= 0 and speech.quiet.max() <= 1
    posterior = speech.contexts[:, -1, 12:14, 0].mean(1)  # look-ahead of one frame: the frame's own two steps
    np.testing.assert_allclose(speech.quiet, posterior, atol=1e-6)
    by_level = listen(data, config.model_copy(update={"features": "logmel"}), tmp_path)
    np.testing.assert_array_equal(by_level.quiet, 1 - by_level.talking)


def test_it_is_an_emotion_that_motion_does_not_repeat(clip: Path, tmp_path: Path) -> None:
    config = FitConfig(lips_parted=True)
    speech = replace(listen(Dataset(clip), config, tmp_path), quiet=np.ones(Dataset(clip).frames, np.float32))
    footage = told(clip, config, speech)
    assert footage.expression_names[-1] == LIPS_PARTED
    np.testing.assert_allclose(footage.expressions[:, -1].numpy(), footage.opening)
    motion = recorded_motion(footage, Dataset(clip), speech)
    assert motion.emotion.shape == tuple(footage.expressions.shape) and not motion.emotion[:, -1].any()


def test_it_is_told_only_where_asked_and_where_something_is_to_tell(clip: Path, tmp_path: Path) -> None:
    speech = listen(Dataset(clip), FitConfig(), tmp_path)
    silent = replace(speech, quiet=np.ones_like(speech.quiet))
    assert LIPS_PARTED not in told(clip, FitConfig(), silent).expression_names
    spoken = replace(speech, quiet=np.zeros_like(speech.quiet))
    assert LIPS_PARTED not in told(clip, FitConfig(lips_parted=True), spoken).expression_names
