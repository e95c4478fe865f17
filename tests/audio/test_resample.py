"""The resampler keeps tones, removes what cannot be kept, does not shift time, and ignores chunking."""

import numpy as np
import pytest

from being.audio.resample import StreamResampler, _kept_filters, resample


def _tone(hz: float, rate: int, seconds: float) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 16000])
def test_a_tone_stays_in_place(rate: int) -> None:
    out = resample(_tone(440.0, rate, 0.5), rate, 16000)
    assert len(out) == 8000
    np.testing.assert_allclose(out[400:-400], _tone(440.0, 16000, 0.5)[400:-400], atol=1e-3)


def test_what_lies_above_the_new_nyquist_frequency_is_removed() -> None:
    out = resample(_tone(12000.0, 48000, 0.5), 48000, 16000)
    assert np.abs(out[400:-400]).max() < 1e-3


@pytest.mark.parametrize(("rate_in", "rate_out"), [(44100, 16000), (16000, 48000), (48000, 16000), (16000, 16000)])
def test_chunks_do_not_matter(rate_in: int, rate_out: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=7001).astype(np.float32)
    whole = resample(x, rate_in, rate_out)
    stream = StreamResampler(rate_in, rate_out)
    parts, start = [], 0
    while start < len(x):
        size = int(rng.choice([1, 7, 160, 1000]))
        parts.append(stream.push(x[start : start + size]))
        start += size
    parts.append(stream.flush())
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-6)
    # After flush the stream is as new.
    again = np.concatenate([stream.push(x), stream.flush()])
    np.testing.assert_allclose(again, whole, atol=1e-6)


def test_a_filter_for_odd_rates_is_not_kept() -> None:
    """Anybody may send a file whose rate takes a filter of tens of megabytes."""
    kept = _kept_filters.cache_info().currsize
    resample(np.zeros(4000, np.float32), 15_999, 16_000)
    assert _kept_filters.cache_info().currsize == kept


def test_nothing_in_nothing_out() -> None:
    assert len(resample(np.zeros(0, np.float32), 44100, 16000)) == 0
    with pytest.raises(ValueError, match="positive"):
        StreamResampler(0, 16000)
