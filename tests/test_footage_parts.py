"""Parts of a footage are datasets that end alike."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from being.constants import FPS, SAMPLE_RATE
from being.dataset import Dataset
from being.synthetic import generate

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from footage_parts import main


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("footage") / "whole", seconds=3.0, seed=3, size=(48, 48), workers=2)


def test_each_holds_the_seconds_before_the_same_last_ones(footage: Path, tmp_path: Path) -> None:
    asked = [str(footage), str(tmp_path), "--seconds", "1", "--seconds", "2", "--held-out", "1"]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    whole = Dataset(footage)
    for seconds in (1, 2):
        part = Dataset(tmp_path / f"{seconds}s")
        first = whole.frames - part.frames
        assert part.frames == (seconds + 1) * FPS and not part.notes
        assert [first + frame for frame in part.split.val] == list(range(whole.frames - FPS, whole.frames))
        assert len(part.split.train) == seconds * FPS
        np.testing.assert_array_equal(part.head_poses, whole.head_poses[first:])
        np.testing.assert_array_equal(part.torso_poses, whole.torso_poses[first:])
        np.testing.assert_array_equal(part.eyes, whole.eyes[first:])
        np.testing.assert_array_equal(part.audio, whole.audio[first * SAMPLE_RATE // FPS :])
        np.testing.assert_array_equal(part.composited(5), whole.composited(first + 5))
        np.testing.assert_array_equal(part.landmarks(5), whole.landmarks(first + 5))


def test_more_seconds_than_there_are_is_said(footage: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, [str(footage), str(tmp_path), "--seconds", "9", "--held-out", "1"])
    assert done.exit_code == 1 and "250 are needed" in done.output
