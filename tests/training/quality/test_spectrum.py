"""Band levels: what a blur takes, where it takes it, and what noise would add."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from being.training.quality.spectrum import BANDS, band_levels, band_powers, box_around

BOX = (8, 8, 120, 104)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 200, (128, 128, 3), dtype=np.uint8)


def test_a_picture_is_as_sharp_as_itself() -> None:
    picture = noise()
    assert band_levels([picture], [picture], [BOX]) == dict.fromkeys(BANDS, 0.0)


def test_a_blur_takes_what_its_transfer_says() -> None:
    """A Gaussian blur of deviation s multiplies power at f by exp(-(2 pi f s)^2): middle of the fine band, -3.5 dB."""
    picture, deviation = noise(), 0.75
    blurred = gaussian_filter(picture.astype(float), (deviation, deviation, 0)).round().astype(np.uint8)
    levels = band_levels([blurred], [picture], [BOX])
    for name, (low, high) in BANDS.items():
        most, least = (10 * np.log10(np.exp(-((2 * np.pi * f * deviation) ** 2))) for f in (low, high))
        assert least - 0.3 <= levels[name] <= most + 0.3, name
    assert levels["high"] < -5 < levels["fine"] < levels["middle"] < levels["coarse"] <= 0.1


def test_a_wave_lies_in_its_band() -> None:
    x = np.arange(128)
    for name, (low, high) in BANDS.items():
        wave = 127 + 60 * np.sin(2 * np.pi * (low + high) / 2 * x)
        picture = np.broadcast_to(wave[None, :, None], (128, 128, 3)).round().astype(np.uint8)
        powers = dict(zip(BANDS, band_powers(picture, BOX), strict=True))
        others = sum(value for band, value in powers.items() if band != name)
        assert powers[name] > 10 * others


def test_boxes_stay_inside_and_small_ones_are_left_out() -> None:
    assert box_around(np.array([[-3.0, 5.2], [200.0, 9.9]], np.float32), 100, 120) == (0, 5, 120, 11)
    assert box_around(np.array([[500.0, 500.0], [501.0, 501.0]], np.float32), 100, 120) == (119, 99, 120, 100)
    assert band_levels([noise()], [noise(1)], [(0, 0, 10, 100)]) == {}
    assert band_levels([noise()], [noise(1)], [BOX])["high"] == pytest.approx(0, abs=0.5)
