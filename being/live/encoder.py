"""Spans to audio contexts: a pure function of the request and the avatar's feature extractor."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt

from being.audio.features import STEP, STEPS_PER_FRAME, FeatureExtractor, FeatureSpec, load_extractor
from being.audio.windows import CONTEXT_FRAMES, WINDOW_STEPS, WindowSpec
from being.errors import InputError
from being.live.spans import (
    CONTEXT_STEPS,
    FRAME_SAMPLES,
    Reach,
    SpanRequest,
    reach_of,
)

FloatArray = npt.NDArray[np.float32]


class SoundEncoder:
    """Encodes spans; extractors are loaded once for each feature specification. Safe to call from several threads."""

    def __init__(self) -> None:
        self._extractors: dict[str, FeatureExtractor] = {}
        self._lock = threading.Lock()

    def extractor(self, features: FeatureSpec) -> FeatureExtractor:
        """The loaded extractor of a specification."""
        key = features.model_dump_json()
        with self._lock:
            if key not in self._extractors:
                self._extractors[key] = load_extractor(features)
            return self._extractors[key]

    def reach(self, features: FeatureSpec, windows: WindowSpec) -> Reach:
        """The sound that a frame of such an avatar is drawn from."""
        return reach_of(self.extractor(features), windows)

    def encode(self, span: SpanRequest, features: FeatureSpec, windows: WindowSpec) -> FloatArray:
        """The audio contexts of a span's frames, (n, 8, 16, D)."""
        extractor = self.extractor(features)
        contexts = span_contexts(extractor, windows, span.pcm, span.count)
        if span.fade is not None:
            weights = span.fade.weights[:, None, None, None]
            before = span_contexts(extractor, windows, span.fade.pcm, span.count)
            contexts = (1 - weights) * contexts + weights * before
        return contexts


def span_contexts(extractor: FeatureExtractor, windows: WindowSpec, pcm: FloatArray, count: int) -> FloatArray:
    """Contexts (count, 8, 16, D) of `count` frames from the sound within their reach.

    They equal those of the whole sound; only at the ends of a clip does a `published` avatar hear silence here, where
    its training had zeros. Step j of window i of frame t is step 2 (t + i) + j after the first one that the span reads.

    Raises
    ------
    InputError
        The sound is not as long as the frames need.
    """
    reach = reach_of(extractor, windows)
    needed = reach.past + FRAME_SAMPLES * (count - 1) + reach.future
    if len(pcm) != needed:
        raise InputError(f"{count} frames are drawn from {needed} samples of sound, the span brings {len(pcm)}")
    left_steps = -(-extractor.left_context // STEP)
    steps = extractor(pcm, left_steps, STEPS_PER_FRAME * (count - 1) + CONTEXT_STEPS)
    frames, rows, columns = np.ix_(np.arange(count), np.arange(CONTEXT_FRAMES), np.arange(WINDOW_STEPS))
    return np.ascontiguousarray(steps[STEPS_PER_FRAME * (frames + rows) + columns], dtype=np.float32)
