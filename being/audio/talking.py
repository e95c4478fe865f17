"""When somebody talks, from the sound's level alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from being.constants import FPS, SAMPLE_RATE

SILENCE_BELOW_PEAK_DB = 35.0  # quieter than the loud frames by this much: nobody talks
BRIDGED_S = 0.4  # pauses shorter than this are part of talking


def talking_frames(audio: NDArray[np.float32], frames: int) -> NDArray[np.bool_]:
    """Which frames are talked in, from the sound's level: (S,) at 16 kHz -> (T,) bool."""
    a_frame = SAMPLE_RATE // FPS
    sound = np.pad(audio, (0, max(0, frames * a_frame - len(audio))))[: frames * a_frame]
    level = 10 * np.log10((sound.reshape(frames, a_frame).astype(np.float64) ** 2).mean(1) + 1e-10)
    loud = level > max(float(np.percentile(level, 95)) - SILENCE_BELOW_PEAK_DB, -70.0)
    bridge = round(BRIDGED_S * FPS)
    edges = np.flatnonzero(np.diff(np.concatenate([[True], loud, [True]]).astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start < bridge and start > 0 and stop < frames:
            loud[start:stop] = True
    return loud
