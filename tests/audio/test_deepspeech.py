"""Precomputed windows: read, clamped, taken apart into steps; nothing hostile or misshapen is accepted."""

from pathlib import Path

import numpy as np
import pytest

from being.audio.deepspeech import DeepSpeechFile, load_windows
from being.audio.windows import WindowSpec, frame_windows
from being.errors import InputError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    steps = np.random.default_rng(0).normal(size=(24, 29))
    windows = frame_windows(steps.astype(np.float32), 12, WindowSpec(look_ahead="published"))
    np.save(tmp_path / "aud_ds.npy", windows.astype(np.float64))
    return tmp_path / "aud_ds.npy"


def test_windows_as_stored_and_clamped(path: Path) -> None:
    extractor = DeepSpeechFile(str(path))
    assert extractor.width == 29
    windows = extractor.windows(15)
    assert windows.shape == (15, 16, 29) and windows.dtype == np.float32
    np.testing.assert_array_equal(windows[11:], np.broadcast_to(windows[11], (4, 16, 29)))


def test_steps_rebuild_the_windows(path: Path) -> None:
    extractor = DeepSpeechFile(str(path))
    steps = extractor(np.zeros(24 * 320, np.float32))
    assert steps.shape == (24, 29)
    rebuilt = frame_windows(steps, 12, WindowSpec(look_ahead="published"))
    np.testing.assert_array_equal(rebuilt, extractor.windows(12))
    assert not extractor(np.zeros(0, np.float32), 24, 3).any()


def test_it_cannot_go_live(path: Path) -> None:
    with pytest.raises(InputError, match="cannot follow a new voice"):
        DeepSpeechFile(str(path)).stream()


def test_hostile_and_misshapen_files(tmp_path: Path) -> None:
    pickled, flat, nan = tmp_path / "p.npy", tmp_path / "f.npy", tmp_path / "n.npy"
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(flat, np.zeros((5, 29)))
    np.save(nan, np.full((2, 16, 29), np.nan))
    for bad, problem in [
        (pickled, "not a readable .npy"),
        (tmp_path / "none.npy", "not a readable .npy"),
        (flat, r"must have the shape \(N, 16, D\), found \(5, 29\)"),
        (nan, "finite"),
    ]:
        with pytest.raises(InputError, match=problem):
            load_windows(bad)
