"""The resampler computes its formula, keeps tones, removes what it cannot keep, and no chunking changes a bit."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest

from being.audio.resample import (
    KAISER_BETA,
    ROLL_OFF,
    ZERO_CROSSINGS,
    StreamResampler,
    _kept_bank,
    filter_bank,
    resample,
)

LIVE_RATES = (8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 47_975, 48_000)


def slowly(x: np.ndarray, rate_in: int, rate_out: int) -> np.ndarray:
    """The slow twin: one output after the other, in double precision."""
    scale = ROLL_OFF * min(1.0, rate_out / rate_in)
    half = ceil(ZERO_CROSSINGS / scale)
    out = np.zeros(ceil(len(x) * rate_out / rate_in))
    for n in range(len(out)):
        whole, part = divmod(n * rate_in, rate_out)
        at = np.arange(whole - half + 1, whole + half + 1)
        away = at - whole - part / rate_out
        taps = np.sinc(scale * away) * np.i0(KAISER_BETA * np.sqrt(np.maximum(0, 1 - (away / half) ** 2)))
        there = (at >= 0) & (at < len(x))
        out[n] = taps[there] @ x[at[there]] / taps.sum()
    return out


def in_chunks(x: np.ndarray, rate_in: int, rate_out: int, sizes: tuple[int, ...]) -> np.ndarray:
    stream, random = StreamResampler(rate_in, rate_out), np.random.default_rng(0)
    parts, at = [], 0
    while at < len(x):
        size = int(random.choice(sizes))
        parts.append(stream.push(x[at : at + size]))
        at += size
    return np.concatenate([*parts, stream.flush()])


def tone(hz: float, rate: int, seconds: float) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate).astype(np.float32)


def inside(x: np.ndarray) -> np.ndarray:
    """Without the edges, where silence begins; in double precision."""
    return x[len(x) // 10 : -(len(x) // 10)].astype(float)


def loudest_db(x: np.ndarray) -> float:
    """Of its tones; 0 dB is an amplitude of 1."""
    window = np.kaiser(len(x), 14)
    return 20 * np.log10(np.abs(np.fft.rfft(x * window)).max() * 2 / window.sum())


@pytest.mark.parametrize("rate_out", [16_000, 48_000])
@pytest.mark.parametrize("rate_in", [*LIVE_RATES, 15_999, 192_000])
def test_it_computes_its_formula_up_to_the_edges(rate_in: int, rate_out: int) -> None:
    if rate_in == rate_out:
        return
    x = np.random.default_rng(2).normal(0, 0.2, 700).astype(np.float32)
    np.testing.assert_allclose(resample(x, rate_in, rate_out), slowly(x, rate_in, rate_out), atol=1e-6)


@pytest.mark.parametrize("rate_out", [16_000, 48_000])
@pytest.mark.parametrize("rate_in", LIVE_RATES)
def test_chunks_do_not_matter(rate_in: int, rate_out: int) -> None:
    x = np.random.default_rng(1).normal(0, 0.2, 9001).astype(np.float32)
    whole = resample(x, rate_in, rate_out)
    assert len(whole) == ceil(len(x) * rate_out / rate_in)
    for sizes in ((1, 2, 7), (160, 331, 640), (0, 1, 1920, 4000)):
        chunked = in_chunks(x, rate_in, rate_out, sizes)
        np.testing.assert_array_equal(chunked.view(np.int32), whole.view(np.int32))


def test_any_ratio_fits_its_table() -> None:
    random = np.random.default_rng(3)
    for up, down in [*random.integers(1, 400, (40, 2)), (1, 1), (397, 396), (1, 300), (300, 1)]:
        x = random.normal(0, 0.2, int(random.integers(1, 900))).astype(np.float32)
        whole = resample(x, int(down), int(up))
        assert len(whole) == ceil(len(x) * up / down)
        chunked = in_chunks(x, int(down), int(up), (1, 50, 200))
        np.testing.assert_array_equal(chunked, whole, err_msg=f"{up} / {down}")


@pytest.mark.parametrize(("up", "down"), [(160, 147), (320, 441), (44_101, 16_000), (16_001, 48_000)])
def test_a_table_is_hardly_larger_than_its_filters(up: int, down: int) -> None:
    filters = filter_bank(up, down).filters
    taps = 2 * ceil(ZERO_CROSSINGS / (ROLL_OFF * min(1.0, up / down)))
    assert filters.size < 2 * up * taps


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 16000])
def test_a_tone_stays_in_place(rate: int) -> None:
    out = resample(tone(440.0, rate, 0.5), rate, 16000)
    assert len(out) == 8000
    np.testing.assert_allclose(out[400:-400], tone(440.0, 16000, 0.5)[400:-400], atol=1e-4)


@pytest.mark.parametrize("rate_in", LIVE_RATES)
def test_an_impulse_is_at_the_same_instant_in_both_outputs(rate_in: int) -> None:
    x = np.zeros(rate_in // 5, np.float32)
    x[rate_in // 10] = 1.0  # at 0.1 s
    for rate_out in (16_000, 48_000):
        out = in_chunks(x, rate_in, rate_out, (160, 320))
        energy = out.astype(float) ** 2
        centre = (energy * np.arange(len(out))).sum() / energy.sum() / rate_out
        assert centre == pytest.approx((rate_in // 10) / rate_in, abs=2e-6)


@pytest.mark.parametrize(
    ("rate_in", "rate_out"), [(16_000, 48_000), (8000, 48_000), (44_100, 48_000), (44_100, 16_000), (48_000, 16_000)]
)
def test_a_sine_comes_out_as_one(rate_in: int, rate_out: int) -> None:
    """Up to 0.8 of the smaller Nyquist frequency: as loud as it was, and neither images nor other errors beside it."""
    for share in (0.05, 0.3, 0.55, 0.8):
        hz = share * min(rate_in, rate_out) / 2
        out = inside(resample(tone(hz, rate_in, 1.0), rate_in, rate_out))
        wanted = inside(tone(hz, rate_out, 1.0))
        gain = np.dot(out, wanted) / np.dot(wanted, wanted)
        assert abs(20 * np.log10(gain)) < 0.001
        assert loudest_db(out - gain * wanted) < -90


@pytest.mark.parametrize("rate_in", [22_050, 24_000, 44_100, 48_000])
def test_what_lies_above_the_new_nyquist_frequency_is_removed(rate_in: int) -> None:
    for hz in (8500.0, 9500.0, 10_900.0):
        assert loudest_db(inside(resample(tone(hz, rate_in, 1.0), rate_in, 16_000))) < -80


def test_a_filter_for_odd_rates_is_not_kept() -> None:
    """Anybody may send a file whose rate takes a filter of tens of megabytes."""
    kept = _kept_bank.cache_info().currsize
    resample(np.zeros(4000, np.float32), 15_999, 16_000)
    assert _kept_bank.cache_info().currsize == kept


def test_a_long_piece_leaves_no_memory_behind() -> None:
    stream = StreamResampler(16_000, 48_000)
    stream.push(np.zeros(1 << 20, np.float32))
    assert stream._kept is not None and stream._kept.base is None and len(stream._kept) < 100


def test_after_a_flush_the_stream_is_as_new() -> None:
    x = tone(300.0, 24_000, 0.1)
    stream = StreamResampler(24_000, 16_000)
    first = np.concatenate([stream.push(x), stream.flush()])
    np.testing.assert_array_equal(np.concatenate([stream.push(x), stream.flush()]), first)


def test_equal_rates_pass_and_nothing_is_nothing() -> None:
    x = tone(300.0, 48_000, 0.1)
    np.testing.assert_array_equal(in_chunks(x, 48_000, 48_000, (100,)), x)
    stream = StreamResampler(24_000, 48_000)
    assert len(stream.push(np.zeros(0, np.float32))) == len(stream.flush()) == 0
    with pytest.raises(ValueError, match="positive"):
        StreamResampler(0, 16_000)


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int16, np.int32])
def test_other_numbers_are_taken_for_what_they_are(kind: type) -> None:
    x = np.round(100 * np.sin(np.arange(3000) * 0.05)).astype(kind)
    assert np.array_equal(resample(x, 44_100, 16_000), resample(x.astype(np.float32), 44_100, 16_000))
