"""Which steps a frame hears: never later than its look-ahead."""

import numpy as np
import pytest
from pydantic import ValidationError

from being.audio.logmel import LogMel
from being.audio.windows import (
    WindowSpec,
    audio_context,
    file_contexts,
    frame_count,
    frame_windows,
    look_ahead_s,
)

SILENCE = np.array([-1.0], np.float32)
SPECS = [
    WindowSpec(look_ahead=0),
    WindowSpec(look_ahead=1),
    WindowSpec(look_ahead=4),
    WindowSpec(look_ahead="published"),
]


def _numbered(count: int) -> np.ndarray:
    """Steps whose only value is their number."""
    return np.arange(count, dtype=np.float32)[:, None]


@pytest.mark.parametrize("look_ahead", [0, 1, 2, 4])
def test_a_live_window_ends_at_its_look_ahead(look_ahead: int) -> None:
    windows = frame_windows(_numbered(60), 20, WindowSpec(look_ahead=look_ahead), SILENCE)
    assert windows.shape == (20, 16, 1)
    for frame in (0, 9, 19):
        last = 2 * (frame + look_ahead) + 1
        wanted = np.arange(last - 15, last + 1)
        np.testing.assert_array_equal(windows[frame, :, 0], np.where(wanted < 0, -1, wanted))


def test_the_published_window_is_centred_and_zero_filled() -> None:
    windows = frame_windows(_numbered(40), 20, WindowSpec(look_ahead="published"), SILENCE)
    np.testing.assert_array_equal(windows[0, :, 0], [0] * 8 + [0, 1, 2, 3, 4, 5, 6, 7])
    np.testing.assert_array_equal(windows[10, :, 0], np.arange(12, 28))
    np.testing.assert_array_equal(windows[19, :, 0], [30, 31, 32, 33, 34, 35, 36, 37, 38, 39] + [0] * 6)


def test_the_live_context_is_the_last_eight_windows_wherever_they_lie() -> None:
    spec = WindowSpec(look_ahead=2)
    context = audio_context(frame_windows(_numbered(60), 20, spec, SILENCE), spec, SILENCE)
    assert context.shape == (20, 8, 16, 1)
    for frame in (0, 3, 12):
        for k in range(8):
            wanted = np.arange(16) + 2 * (frame - 7 + k + 2) + 1 - 15
            np.testing.assert_array_equal(context[frame, k, :, 0], np.where(wanted < 0, -1, wanted))


def test_the_published_context_is_zero_outside_the_clip() -> None:
    spec = WindowSpec(look_ahead="published")
    windows = frame_windows(_numbered(40) + 1, 20, spec)
    context = audio_context(windows, spec)
    assert not context[0, :4].any() and not context[19, 5:].any()
    np.testing.assert_array_equal(context[10], windows[6:14])


@pytest.mark.parametrize("spec", SPECS)
def test_the_stated_look_ahead_is_what_is_read(spec: WindowSpec) -> None:
    extractor = LogMel()
    pcm = np.random.default_rng(0).normal(size=640 * 40).astype(np.float32)
    frame = 20
    needed = 640 * (frame + 1) + round(16_000 * look_ahead_s(spec, extractor))
    usual = file_contexts(pcm, extractor, spec)[frame]
    late, early = pcm.copy(), pcm.copy()
    late[needed:] = 0.0
    early[needed - 200 :] = 0.0
    np.testing.assert_array_equal(file_contexts(late, extractor, spec)[frame], usual)
    assert np.abs(file_contexts(early, extractor, spec)[frame] - usual).max() > 0.01


def test_published_looks_280_ms_ahead() -> None:
    assert SPECS[3].last_step_offset == 2 * 3 + 7
    assert look_ahead_s(SPECS[3], LogMel()) == pytest.approx(0.24 + 0.0025)  # after the end of the frame's own 40 ms


def test_the_context_of_silence() -> None:
    context = file_contexts(np.zeros(6400, np.float32), LogMel(), WindowSpec())[5]
    assert context.shape == (8, 16, 32)
    assert not context.any()


def test_frames_of_a_sound() -> None:
    assert [frame_count(n) for n in (0, 1, 640, 959, 960, 16_000)] == [0, 1, 1, 1, 2, 25]


def test_an_impossible_look_ahead_is_refused() -> None:
    with pytest.raises(ValidationError, match="look_ahead"):
        WindowSpec(look_ahead=-1)
