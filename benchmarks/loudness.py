"""How loud speech is, frame by frame, and how well a mouth follows it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from being.constants import FPS, SAMPLE_RATE


def loudness(pcm: NDArray[np.float32], frames: int) -> NDArray[np.float64]:
    """(T,) RMS of each frame's 40 ms, smoothed over three frames as a mouth is."""
    hop = SAMPLE_RATE // FPS
    padded = np.pad(pcm, (0, max(0, frames * hop - len(pcm))))[: frames * hop].reshape(frames, hop)
    rms = np.sqrt(np.square(padded, dtype=np.float64).mean(axis=1))
    return np.convolve(np.pad(rms, 1, mode="edge"), np.ones(3) / 3, "valid")


def decibels(rms: NDArray[np.float64], span: float = 40.0) -> NDArray[np.float64]:
    """rms (T,) -> dB, nothing lower than `span` under the loudest frame."""
    level = 20 * np.log10(rms + 1e-9)
    return np.asarray(np.maximum(level, level.max() - span))


def correlation(mouth: NDArray[np.float64], sound: NDArray[np.float64], lag: int) -> float:
    """Of the mouth with the sound `lag` frames before it."""
    a = mouth[max(0, lag) : len(mouth) + min(0, lag)]
    b = sound[max(0, -lag) : len(sound) + min(0, -lag)]
    return float(np.corrcoef(a, b)[0, 1])
