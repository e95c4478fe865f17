"""Log mel energies: the ear of every feature here, and a feature (`logmel`) by itself.

Digital silence is exactly 0 in every band and full scale is about 2, so padding with zeros is padding with silence.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from being.audio.features import STEP, Array, FeatureExtractor, FeatureStream, SpanStream, padded_span, step_count
from being.constants import SAMPLE_RATE

WINDOW = 400  # samples = 25 ms, Hann
FFT = 512  # samples
LOWEST_HZ, HIGHEST_HZ = 60.0, 7600.0
FLOOR = 1e-9  # energy taken for silence: -90 dB; the rounding noise of 16-bit sound lies below it
DECADES = 4.0  # of energy per unit of the output
_BLOCK = 4096  # frames transformed at once; bounds memory


@lru_cache(maxsize=8)
def mel_filters(bands: int) -> NDArray[np.float32]:
    """(FFT // 2 + 1, bands) triangles equally spaced on the HTK mel scale, each summing to 1."""
    mel_low, mel_high = (2595.0 * np.log10(1.0 + hz / 700.0) for hz in (LOWEST_HZ, HIGHEST_HZ))
    edges = 700.0 * (10.0 ** (np.linspace(mel_low, mel_high, bands + 2) / 2595.0) - 1.0)
    hz = np.fft.rfftfreq(FFT, 1.0 / SAMPLE_RATE)[:, None]
    rising = (hz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hz) / (edges[2:] - edges[1:-1])
    triangles = np.clip(np.minimum(rising, falling), 0.0, None)
    # A low triangle can fall between two FFT bins; it then takes the nearest bin.
    for band in np.flatnonzero(triangles.sum(axis=0) == 0.0):
        triangles[np.abs(hz[:, 0] - edges[band + 1]).argmin(), band] = 1.0
    return (triangles / triangles.sum(axis=0)).astype(np.float32)


@lru_cache(maxsize=1)
def window() -> NDArray[np.float32]:
    """(WINDOW,) Hann window scaled so that a full-scale sine has energy 1/4 in its FFT bin."""
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * (np.arange(WINDOW) + 0.5) / WINDOW)
    return (hann / hann.sum()).astype(np.float32)


def mel_frames(pcm: Array, hop: int, bands: int) -> Array:
    """pcm (..., S) -> (..., n, bands): frame j reads pcm[j * hop : j * hop + WINDOW]; n = 1 + (S - WINDOW) // hop."""
    sound = np.asarray(pcm, np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW, axis=-1)[..., ::hop, :]
    out = np.empty((*frames.shape[:-1], bands), np.float32)
    for start in range(0, frames.shape[-2], _BLOCK):
        spectrum = np.fft.rfft(frames[..., start : start + _BLOCK, :] * window(), FFT)
        energy = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        mel = energy.reshape(-1, energy.shape[-1]) @ mel_filters(bands)
        logarithm = np.log10(np.maximum(mel, FLOOR) / FLOOR) / DECADES
        out[..., start : start + _BLOCK, :] = logarithm.reshape(*energy.shape[:-1], bands)
    return out


class LogMel(FeatureExtractor):
    """32 log mel energies of the 25 ms around the centre of each step."""

    name = "logmel"
    left_context = (WINDOW - STEP) // 2  # samples
    right_context = (WINDOW - STEP) // 2  # samples

    def __init__(self, width: int = 32) -> None:
        self.width = width

    def __call__(self, pcm: Array, first: int = 0, count: int | None = None) -> Array:
        count = step_count(len(pcm)) - first if count is None else count
        if count <= 0:
            return np.zeros((0, self.width), np.float32)
        start = first * STEP
        span = padded_span(pcm, start - self.left_context, start + count * STEP + self.right_context)
        return mel_frames(span, STEP, self.width)

    def stream(self) -> FeatureStream:
        return SpanStream(self)
