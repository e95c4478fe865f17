"""Files' rates: aligned to the sample, as long as they should be, and like the resampler of live streams."""

from __future__ import annotations

import numpy as np
import pytest

from being.audio.resample import resample
from being.media.reading.file_resampler import FileResampler

RATES = [(44_100, 16_000), (48_000, 16_000), (8000, 16_000), (22_050, 48_000), (96_000, 48_000), (31_337, 16_000)]


def converted(sound: np.ndarray, rate_in: int, rate_out: int, block: int = 3000) -> np.ndarray:
    converter = FileResampler(rate_in, rate_out, sound.shape[1])
    blocks = [converter.push(sound[i : i + block]) for i in range(0, len(sound), block)]
    return np.concatenate([*blocks, converter.flush()])


@pytest.mark.parametrize(("rate_in", "rate_out"), RATES)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.8])
def test_a_tone_comes_out_where_and_as_it_was(rate_in: int, rate_out: int, share: float) -> None:
    hz = share * min(rate_in, rate_out) / 2
    count = rate_in + 7
    tone = 0.5 * np.sin(2 * np.pi * hz * np.arange(count) / rate_in)
    heard = converted(np.stack([tone, -tone], axis=1).astype(np.float32), rate_in, rate_out)
    assert heard.shape == (-(-count * rate_out // rate_in), 2)
    wanted = 0.5 * np.sin(2 * np.pi * hz * np.arange(len(heard)) / rate_out)
    inside = slice(rate_out // 20, -rate_out // 20)
    error = np.sqrt(np.mean((heard[inside, 0] - wanted[inside]) ** 2)) / np.sqrt(0.125)
    assert 20 * np.log10(error) < -90
    np.testing.assert_array_equal(heard[:, 0], -heard[:, 1])
    if rate_in != 31_337:  # filters of this rate are large
        live = resample(tone.astype(np.float32), rate_in, rate_out)
        assert len(live) == len(heard)
        difference = np.sqrt(np.mean((heard[inside, 0] - live[inside]) ** 2)) / np.sqrt(0.125)
        assert 20 * np.log10(difference) < -90


def test_equal_rates_pass_bit_by_bit() -> None:
    sound = np.random.default_rng(0).normal(size=(5000, 1)).astype(np.float32)
    np.testing.assert_array_equal(converted(sound, 16_000, 16_000), sound)


def test_blocks_do_not_matter() -> None:
    sound = np.random.default_rng(0).normal(size=(5000, 1)).astype(np.float32)
    np.testing.assert_array_equal(converted(sound, 44_100, 16_000, 5000), converted(sound, 44_100, 16_000, 37))
