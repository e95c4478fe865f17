"""Sharpness as energy: how much of the film's power a drawn face has, by spatial frequency.

PSNR hardly notices lost pores and lashes: they are a thousandth of the energy. A radial power spectrum of drawn over
filmed tells them apart from everything coarse: 0 dB is as sharp as the film, -3 dB half of its power.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Box = tuple[int, int, int, int]

# Cycles a pixel, from and up to: an octave each, and all that is finer than four pixels.
BANDS = {"coarse": (1 / 32, 1 / 16), "middle": (1 / 16, 1 / 8), "fine": (1 / 8, 1 / 4), "high": (1 / 4, 1 / 2)}
LUMA = np.array([0.299, 0.587, 0.114])
LEAST_SIDE = 16  # pixels; smaller boxes hold no octave


def band_powers(picture: Picture, box: Box) -> NDArray[np.float64]:
    """Power (len(BANDS),) of the luma inside a box x0 y0 x1 y1 of a picture (H, W, 3), under a Hann window."""
    x0, y0, x1, y1 = box
    luma = picture[y0:y1, x0:x1].astype(np.float64) @ LUMA
    luma -= luma.mean()
    height, width = luma.shape
    window = np.hanning(height)[:, None] * np.hanning(width)
    power = np.abs(np.fft.fft2(luma * window)) ** 2 / (height * width)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    return np.array([power[(radius >= low) & (radius < high)].mean() for low, high in BANDS.values()])


def band_levels(
    drawn: Sequence[Picture], filmed: Sequence[Picture], boxes: Sequence[Box], least: float = 1e-9
) -> dict[str, float]:
    """dB by which drawn pictures have more power than the filmed ones, by band; means over the frames. {} for none."""
    levels = [
        10 * np.log10((band_powers(a, box) + least) / (band_powers(b, box) + least))
        for a, b, box in zip(drawn, filmed, boxes, strict=True)
        if min(box[2] - box[0], box[3] - box[1]) >= LEAST_SIDE
    ]
    return dict(zip(BANDS, np.mean(levels, 0).tolist(), strict=True)) if levels else {}


def box_around(points: NDArray[np.float32], height: int, width: int) -> Box:
    """The box of points (K, 2) in whole pixels, inside the picture."""
    low, high = np.floor(points.min(0)).astype(int), np.ceil(points.max(0)).astype(int) + 1
    x0, y0 = (int(v) for v in np.clip(low, 0, (width - 1, height - 1)))
    x1, y1 = (int(v) for v in np.clip(high, 1, (width, height)))
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)
