"""A frame is trained with the sound it was filmed with, also where parts of the film before it were left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from being.dataset import Dataset
from being.dataset.writer import DatasetWriter
from being.errors import InputError
from being.training.config import FitConfig
from being.training.data.speech import listen

FRAMES, SIDE = 60, 16


def footage(path: Path, kept: np.ndarray, sound_frames: np.ndarray | None) -> Dataset:
    """Frames `kept` of a clip whose sound is 60 frames long."""
    writer = DatasetWriter(path, SIDE, SIDE, 20.0).prepare()
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    for index in range(len(kept)):
        writer.frame(index, picture, np.zeros((SIDE, SIDE), np.uint8), np.full((68, 2), 8.0))
    pose = np.concatenate([np.diag([1.0, -1, -1]), [[0], [0], [9]]], axis=1)
    random = np.random.default_rng(0)
    sound = random.normal(0, 0.1, FRAMES * 640) * np.repeat(random.uniform(0, 1, FRAMES), 640)
    writer.finish(
        audio=sound,
        background=picture,
        head_poses=np.repeat(pose[None], len(kept), 0),
        eyes=np.zeros(len(kept)),
        sound_frames=sound_frames,
    )
    return Dataset(path)


def test_frames_after_a_cut_keep_their_sound(tmp_path: Path) -> None:
    kept = np.concatenate([np.arange(20), np.arange(41, FRAMES)])
    whole = footage(tmp_path / "whole", np.arange(FRAMES), None)
    cut = footage(tmp_path / "cut", kept, kept)
    assert whole.sound_frames.tolist() == list(range(FRAMES)) and cut.sound_frames.tolist() == kept.tolist()
    config = FitConfig(features="logmel")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    all_of_it, part = listen(whole, config, tmp_path / "a"), listen(cut, config, tmp_path / "b")
    assert part.contexts.shape[0] == len(kept)
    np.testing.assert_array_equal(part.contexts, all_of_it.contexts[kept])
    np.testing.assert_array_equal(part.talking, all_of_it.talking[kept])
    assert np.abs(part.contexts[25] - all_of_it.contexts[25]).max() > 0.1  # its own number would be other sound


def test_the_transforms_say_which_sound(tmp_path: Path) -> None:
    """Published trainers read it there: aud_id."""
    kept = np.arange(5, 45)
    footage(tmp_path / "d", kept, kept)
    frames = json.loads((tmp_path / "d" / "transforms_train.json").read_text())["frames"]
    assert [frame["aud_id"] - frame["img_id"] for frame in frames] == [5] * len(frames)


def test_sound_frames_that_fit_no_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        footage(tmp_path / "d", np.arange(20), np.arange(19))
