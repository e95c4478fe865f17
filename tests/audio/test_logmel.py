"""Log mel energies: silence is zero, a tone lights its band, ten times the amplitude is half a unit."""

import numpy as np

from being.audio.logmel import LogMel, mel_filters, mel_frames


def _tone(hz: float, amplitude: float = 0.1) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(16_000) / 16_000)).astype(np.float32)


def test_silence_is_exactly_zero() -> None:
    np.testing.assert_array_equal(LogMel()(np.zeros(16_000, np.float32)), 0.0)


def test_a_higher_tone_lights_a_higher_band() -> None:
    bands = [int(LogMel()(_tone(hz))[10:40].mean(axis=0).argmax()) for hz in (150, 400, 1000, 2500, 6000)]
    assert bands == sorted(set(bands))


def test_amplitude_is_logarithmic() -> None:
    loud, quiet = (LogMel()(_tone(1000.0, a))[25].max() for a in (0.5, 0.05))
    np.testing.assert_allclose(loud - quiet, 2.0 / 4.0, atol=1e-3)  # 2 decades of energy, 4 a unit


def test_filters_sum_to_one_and_cover_the_band() -> None:
    for bands in (32, 40, 80):
        filters = mel_filters(bands)
        assert filters.shape == (257, bands)
        np.testing.assert_allclose(filters.sum(axis=0), 1.0, atol=1e-5)


def test_frames_read_only_their_window() -> None:
    pcm = np.random.default_rng(0).normal(size=2000).astype(np.float32)
    whole = mel_frames(pcm, 160, 40)
    assert whole.shape == (1 + (2000 - 400) // 160, 40)
    np.testing.assert_allclose(mel_frames(pcm[480:880], 160, 40)[0], whole[3], atol=1e-6)
