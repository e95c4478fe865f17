"""`deepspeech`: feature windows that somebody else computed, read from a dataset's ``aud_ds.npy`` (or ``aud_eo.npy``).

Such a file holds one window of 16 steps a video frame, two steps further each; the steps are read back from them. It
belongs to one recording, so it can train an avatar but not drive a live one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from being.audio.features import STEPS_PER_FRAME, Array, FeatureExtractor, FeatureStream, step_count
from being.audio.windows import WINDOW_STEPS
from being.errors import InputError


def load_windows(path: str | Path) -> Array:
    """The (N, 16, D) float32 windows of a file.

    Raises
    ------
    InputError
        Missing, not a plain .npy array (pickles are refused), another shape, or numbers that are not finite.
    """
    remedy = "Give the aud_ds.npy (N, 16, 29) or aud_eo.npy (N, 16, 44) of a talking-portrait dataset"
    try:
        stored = np.load(path, allow_pickle=False, mmap_mode="r")  # a map is never larger than its file
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is not a readable .npy array ({error})", remedy) from error
    if not isinstance(stored, np.ndarray) or stored.ndim != 3 or stored.shape[1] != WINDOW_STEPS or not len(stored):
        found = getattr(stored, "shape", "an archive")
        raise InputError(f"{path} must have the shape (N, 16, D), found {found}", remedy)
    if stored.dtype.kind != "f" or not np.isfinite(stored).all():
        raise InputError(f"{path} must hold finite floating-point numbers, found {stored.dtype}", remedy)
    return stored.astype(np.float32)


class DeepSpeechFile(FeatureExtractor):
    """The extractor of one recording: what it is asked about the sound it answers from the file."""

    name = "deepspeech"
    left_context = 0
    right_context = 0

    def __init__(self, path: str) -> None:
        self.path = path
        self._windows = load_windows(path)
        self.width = self._windows.shape[2]

    def windows(self, frames: int) -> Array:
        """(frames, 16, D): the file's windows as they are; beyond its end the last one repeats."""
        return self._windows[np.minimum(np.arange(frames), len(self._windows) - 1)]

    def __call__(self, pcm: Array, first: int = 0, count: int | None = None) -> Array:
        """Steps of the recording; zero outside it. Of ``pcm`` only the length is looked at, where count is None."""
        count = step_count(len(pcm)) - first if count is None else count
        half = WINDOW_STEPS // 2
        # Window t holds the steps 2 t - 8 .. 2 t + 7: its middle pair tells the steps 2 t and 2 t + 1.
        steps = self._windows[:, half : half + STEPS_PER_FRAME].reshape(-1, self.width)
        at = first + np.arange(max(count, 0))
        inside = (at >= 0) & (at < len(steps))
        return np.where(inside[:, None], steps[np.clip(at, 0, len(steps) - 1)], 0.0).astype(np.float32)

    def stream(self) -> FeatureStream:
        raise InputError(
            f"deepspeech features come from a file ({self.path}) and cannot follow a new voice",
            "Use an avatar trained on phones, logmel or wav2vec2",
        )
