"""The C resampler keeps every sample's instant, whatever the chunks; the Python one is its slow twin."""

from __future__ import annotations

import numpy as np
import pytest

from being.audio.resample import resample
from being.media.stream_resampler import StreamResampler

RATES = (8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)


def converted(x: np.ndarray, rate_in: int, rate_out: int, chunks: tuple[int, ...] = ()) -> np.ndarray:
    stream = StreamResampler(rate_in, rate_out)
    rng = np.random.default_rng(0)
    parts, at = [], 0
    while at < len(x):
        size = int(rng.choice(chunks)) if chunks else len(x)
        parts.append(stream.push(x[at : at + size]))
        at += size
    return np.concatenate([*parts, stream.flush()])


def chirp(rate: int, seconds: float = 0.6) -> np.ndarray:
    """100 Hz to 3 kHz: below every Nyquist frequency here."""
    time = np.arange(round(rate * seconds)) / rate
    return np.sin(2 * np.pi * (100 * time + 2900 / (2 * seconds) * time**2)).astype(np.float32)


@pytest.mark.parametrize("rate_out", [16_000, 48_000])
@pytest.mark.parametrize("rate_in", RATES)
def test_a_chirp_is_where_it_was(rate_in: int, rate_out: int) -> None:
    out = converted(chirp(rate_in), rate_in, rate_out)
    wanted = chirp(rate_out)
    assert len(out) == len(wanted)
    inside = slice(rate_out // 50, -rate_out // 50)
    np.testing.assert_allclose(out[inside], resample(chirp(rate_in), rate_in, rate_out)[inside], atol=1e-3)
    np.testing.assert_allclose(out[inside], wanted[inside], atol=2e-3)


@pytest.mark.parametrize("rate_out", [16_000, 48_000])
@pytest.mark.parametrize("rate_in", RATES)
def test_chunks_do_not_matter(rate_in: int, rate_out: int) -> None:
    x = np.random.default_rng(1).normal(0, 0.2, 5003).astype(np.float32)
    whole = converted(x, rate_in, rate_out)
    np.testing.assert_array_equal(converted(x, rate_in, rate_out, (1, 7, 160, 331, 1000)), whole)
    assert len(whole) == -(-len(x) * rate_out // rate_in), "flush gives the whole length"


@pytest.mark.parametrize("rate_in", RATES)
def test_an_impulse_is_at_the_same_instant_in_both_outputs(rate_in: int) -> None:
    x = np.zeros(rate_in // 5, np.float32)
    x[rate_in // 10] = 1.0  # at 0.1 s
    for rate_out in (16_000, 48_000):
        out = converted(x, rate_in, rate_out, (160, 320))
        energy = out.astype(float) ** 2
        centre = (energy * np.arange(len(out))).sum() / energy.sum() / rate_out
        assert centre == pytest.approx((rate_in // 10) / rate_in, abs=2e-6)


def test_after_a_flush_the_stream_is_as_new() -> None:
    x = chirp(24_000)
    stream = StreamResampler(24_000, 16_000)
    first = np.concatenate([stream.push(x), stream.flush()])
    np.testing.assert_array_equal(np.concatenate([stream.push(x), stream.flush()]), first)


def test_equal_rates_pass_and_nothing_is_nothing() -> None:
    x = chirp(48_000)
    np.testing.assert_array_equal(converted(x, 48_000, 48_000, (100,)), x)
    stream = StreamResampler(24_000, 48_000)
    assert len(stream.push(np.zeros(0, np.float32))) == len(stream.flush()) == 0
    with pytest.raises(ValueError, match="positive"):
        StreamResampler(0, 16_000)
