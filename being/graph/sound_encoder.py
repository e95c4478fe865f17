"""Spans to audio contexts: a pure function of the request and the extractor, whatever is remembered."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from being.audio.extractors import load_extractor
from being.audio.features import STEP, STEPS_PER_FRAME, FeatureExtractor, FeatureSpec
from being.audio.windows import CONTEXT_FRAMES, WINDOW_STEPS, WindowSpec
from being.errors import BeingError, InputError
from being.graph.feature_cache import KEPT_STEPS, FeatureCache, SoundSpan
from being.live.requests import (
    CONTEXT_STEPS,
    FRAME_SAMPLES,
    AudioContextRange,
    FrameRequest,
    audio_context_range,
)

FloatArray = npt.NDArray[np.float32]
EncoderRequest = tuple[FrameRequest, FeatureSpec, WindowSpec]  # with what its avatar listens to


class SoundEncoder:
    """Encodes requests; extractors are loaded once for each feature specification. Safe to call from several threads.

    A session's next request is encoded from where its last one ended; `request_contexts` is the plain form, each by
    itself.
    """

    def __init__(self) -> None:
        self._feature_cache = FeatureCache()
        self._extractors: dict[str, FeatureExtractor] = {}
        self._silences: dict[str, FloatArray] = {}
        self._lock = threading.Lock()

    def extractor(self, features: FeatureSpec) -> FeatureExtractor:
        """The loaded extractor of a specification."""
        key = features.model_dump_json()
        with self._lock:
            if key not in self._extractors:
                self._extractors[key] = load_extractor(features)
            return self._extractors[key]

    def audio_range(self, features: FeatureSpec, windows: WindowSpec) -> AudioContextRange:
        """The sound that a frame of such an avatar is drawn from."""
        return audio_context_range(self.extractor(features), windows)

    def encode(self, requests: Sequence[EncoderRequest], *, as_steps: bool = False) -> list[FloatArray | BeingError]:
        """The audio contexts of each request's frames, (n, 8, 16, D), or why there are none; all are encoded together.

        Read only: those of silence are shared.

        as_steps : give the feature steps that contexts are windows of where that says as much, a quarter of the bytes
            or less (`contexts_of` makes contexts of them).
        """
        try:
            return [*self._encode(requests, as_steps)]
        except Exception:  # each for itself: only the guilty get an error
            return [self._alone(request, as_steps) for request in requests]

    def _alone(self, request: EncoderRequest, as_steps: bool) -> FloatArray | BeingError:
        try:
            return self._encode([request], as_steps)[0]
        except BeingError as error:
            return error

    def _encode(self, wanted: Sequence[EncoderRequest], as_steps: bool) -> list[FloatArray]:
        silent = [request.fade is None and is_silent(request.pcm) for request, _, _ in wanted]
        encoded = self._of_sound([one for one, quiet in zip(wanted, silent, strict=True) if not quiet])
        steps = [self._silence(*one) if quiet else next(encoded) for one, quiet in zip(wanted, silent, strict=True)]
        return [
            given if as_steps and one[0].fade is None else self._faded(one, contexts_of(given, one[0].count))
            for one, given in zip(wanted, steps, strict=True)
        ]

    def _silence(self, request: FrameRequest, features: FeatureSpec, windows: WindowSpec) -> FloatArray:
        """Steps of somebody who listens, which most sessions do most of the time: computed once."""
        key = f"{features.model_dump_json()} {windows.look_ahead} {request.count}"
        if key not in self._silences:
            self._silences[key] = next(self._of_sound([(request, features, windows)]))
        else:
            check_length(self.extractor(features), windows, request.pcm, request.count)
        return self._silences[key]

    def _of_sound(self, wanted: Sequence[EncoderRequest]) -> Iterator[FloatArray]:
        """Steps of the sound itself: of sessions that go on, from what is remembered of them."""
        spans: list[SoundSpan] = []
        extractors = [self.extractor(features) for _, features, _ in wanted]
        for (request, _, windows), extractor in zip(wanted, extractors, strict=True):
            check_length(extractor, windows, request.pcm, request.count)
            # With its look-ahead, for other windows read other steps of the same sound.
            session = f"{request.session} {windows.look_ahead}"
            if (needed := step_total(request.count)) <= KEPT_STEPS:
                spans.append(SoundSpan(session, extractor, request.first, request.pcm, needed))
        remembered = iter(self._feature_cache.steps(spans))
        for (request, _, _), extractor in zip(wanted, extractors, strict=True):
            steps = next(remembered) if step_total(request.count) <= KEPT_STEPS else None
            yield _request_steps(extractor, request.pcm, request.count) if steps is None else steps

    def _faded(self, wanted: EncoderRequest, contexts: FloatArray) -> FloatArray:
        request, features, windows = wanted
        if request.fade is None:
            return contexts
        weights = request.fade.weights[:, None, None, None]
        before = request_contexts(self.extractor(features), windows, request.fade.pcm, request.count)
        return (1 - weights) * contexts + weights * before


def is_silent(pcm: FloatArray) -> bool:
    """Whether all samples are zero: a fifth of the time of `not pcm.any()`, which makes booleans of them first."""
    return not len(pcm) or bool(pcm.max() == 0.0 == pcm.min())


def request_contexts(extractor: FeatureExtractor, windows: WindowSpec, pcm: FloatArray, count: int) -> FloatArray:
    """Contexts (count, 8, 16, D) of `count` frames from the sound within their audio range.

    They equal those of the whole sound; only at the ends of a clip does a `published` avatar hear silence here, where
    its training had zeros.

    Raises
    ------
    InputError
        The sound is not as long as the frames need.
    """
    check_length(extractor, windows, pcm, count)
    return contexts_of(_request_steps(extractor, pcm, count), count)


def _request_steps(extractor: FeatureExtractor, pcm: FloatArray, count: int) -> FloatArray:
    return extractor(pcm, -(-extractor.left_context // STEP), step_total(count))


def check_length(extractor: FeatureExtractor, windows: WindowSpec, pcm: FloatArray, count: int) -> None:
    """Raise InputError unless the sound is as long as `count` frames need."""
    audio_range = audio_context_range(extractor, windows)
    needed = audio_range.past + FRAME_SAMPLES * (count - 1) + audio_range.future
    if len(pcm) != needed:
        raise InputError(f"{count} frames are drawn from {needed} samples of sound, the request brings {len(pcm)}")


def step_total(count: int) -> int:
    """Feature steps that `count` frames read."""
    return STEPS_PER_FRAME * (count - 1) + CONTEXT_STEPS


def contexts_of(steps: FloatArray, count: int) -> FloatArray:
    """Contexts (count, 8, 16, D) from all steps they read: step j of window i of frame t is row 2 (t + i) + j."""
    return np.ascontiguousarray(steps[_step_rows(count)], dtype=np.float32)


@lru_cache(maxsize=32)
def _step_rows(count: int) -> npt.NDArray[np.int64]:
    frames, rows, columns = np.ix_(np.arange(count), np.arange(CONTEXT_FRAMES), np.arange(WINDOW_STEPS))
    return STEPS_PER_FRAME * (frames + rows) + columns
