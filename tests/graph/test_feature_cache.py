"""What is remembered of a session changes the cost of its next request, never the answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.scene import speech

from being.audio.extractors import load_extractor
from being.audio.features import FeatureExtractor, FeatureSpec, FeatureStream
from being.audio.windows import WindowSpec
from being.graph.feature_cache import KEPT_STEPS, FeatureCache, SoundSpan
from being.graph.sound_encoder import request_contexts, step_total
from being.live.requests import FRAME_SAMPLES, AudioContextRange, audio_context_range

WINDOWS = WindowSpec(look_ahead=1)
CUTS = [(0, 1), (1, 1), (2, 4), (6, 1), (6, 1), (7, 3), (12, 1), (11, 1), (13, 2), (40, 1), (41, 1), (42, 25)]


class Counting(FeatureExtractor):
    """An extractor that notes how many samples its streams are given."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        self._extractor = extractor
        self.name, self.width = extractor.name, extractor.width
        self.left_context, self.right_context = extractor.left_context, extractor.right_context
        self.pushed: list[int] = []

    def __call__(self, pcm: np.ndarray, first: int = 0, count: int | None = None) -> np.ndarray:
        return self._extractor(pcm, first, count)

    def stream(self) -> FeatureStream:
        stream = self._extractor.stream()
        push = stream.push

        def counted(pcm: np.ndarray) -> np.ndarray:
            self.pushed.append(len(pcm))
            return push(pcm)

        stream.push = counted  # type: ignore[method-assign]
        return stream


def asked(
    cache: FeatureCache, session: str, extractor: FeatureExtractor, first: int, pcm: np.ndarray, count: int
) -> np.ndarray | None:
    (steps,) = cache.steps([SoundSpan(session, extractor, first, pcm, step_total(count))])
    return steps


def request_sound(pcm: np.ndarray, audio_range: AudioContextRange, first: int, count: int) -> np.ndarray:
    padded = np.pad(pcm, (audio_range.past, audio_range.future + 70 * FRAME_SAMPLES))
    return padded[FRAME_SAMPLES * first :][: audio_range.past + FRAME_SAMPLES * (count - 1) + audio_range.future].copy()


def alone(extractor: FeatureExtractor, pcm: np.ndarray, count: int) -> np.ndarray:
    """The steps that a request's frames read, computed from the request by itself."""
    contexts = request_contexts(extractor, WINDOWS, pcm, count)
    windows = np.concatenate([contexts[0], contexts[1:, -1]])  # one a frame
    return np.concatenate([windows[0], *(window[-2:] for window in windows[1:])])


@pytest.mark.parametrize("name", ["phones", "logmel"])
def test_requests_of_any_cutting_are_answered_as_if_alone(name: str) -> None:
    extractor, cache, pcm = load_extractor(FeatureSpec(name=name)), FeatureCache(), speech(2.5)
    audio_range = audio_context_range(extractor, WINDOWS)
    answered = 0
    for first, count in CUTS:
        sound = request_sound(pcm, audio_range, first, count)
        steps = asked(cache, "s", extractor, first, sound, count)
        if steps is not None:
            answered += 1
            np.testing.assert_allclose(steps, alone(extractor, sound, count), atol=2e-5)
    assert answered == len(CUTS) - 1, "only the frame that is older than the one before it is left to others"


@pytest.mark.parametrize("name", ["phones", "logmel"])
def test_sessions_encoded_together_are_answered_as_if_alone(name: str) -> None:
    extractor, cache = load_extractor(FeatureSpec(name=name)), FeatureCache()
    audio_range = audio_context_range(extractor, WINDOWS)
    voices = {voice: speech(1.5, seed) for seed, voice in enumerate("abcd")}
    at = {"a": 0, "b": 0, "c": 3, "d": 0}
    for tick in range(12):
        counts = {"a": 1, "b": 1, "c": 1 + tick % 2, "d": 2}
        if tick == 5:
            at["b"] += 4  # a session that skipped
        talking = [voice for voice in "abcd" if not (voice == "c" and tick in (3, 4))]
        order = [*talking, "a"] if tick == 7 else talking  # one that is there twice
        spans = []
        for voice in order:
            sound = request_sound(voices[voice], audio_range, at[voice], counts[voice])
            spans.append(SoundSpan(voice, extractor, at[voice], sound, step_total(counts[voice])))
            at[voice] += counts[voice]
        for span, voice, steps in zip(spans, order, cache.steps(spans), strict=True):
            assert steps is not None
            np.testing.assert_allclose(steps, alone(extractor, span.pcm, counts[voice]), atol=2e-5)


def test_only_new_sound_is_listened_to() -> None:
    extractor = Counting(load_extractor(FeatureSpec(name="phones")))
    cache, pcm, audio_range = FeatureCache(), speech(2.0), audio_context_range(extractor, WINDOWS)
    for first in (0, 1, 2, 2, 5):
        asked(cache, "s", extractor, first, request_sound(pcm, audio_range, first, 1), 1)
    assert extractor.pushed == [audio_range.past + audio_range.future, FRAME_SAMPLES, FRAME_SAMPLES, 3 * FRAME_SAMPLES]


def test_another_sound_is_not_taken_for_the_one_before() -> None:
    """An interruption replaces sound that was heard already."""
    extractor = Counting(load_extractor(FeatureSpec(name="phones")))
    cache, audio_range = FeatureCache(), audio_context_range(extractor, WINDOWS)
    said, other = speech(2.0, 1), speech(2.0, 2)
    for first, pcm in ((20, said), (21, said), (22, other), (23, other), (3, other), (65, other)):
        sound = request_sound(pcm, audio_range, first, 1)
        steps = asked(cache, "s", extractor, first, sound, 1)
        assert (steps is None) == (first == 3), "only an older frame is left to others"
        if steps is not None:
            np.testing.assert_allclose(steps, alone(extractor, sound, 1), atol=2e-5)
    whole = audio_range.past + audio_range.future
    assert extractor.pushed == [whole, FRAME_SAMPLES, whole, FRAME_SAMPLES, whole]


def test_other_extractors_and_sessions_do_not_meet() -> None:
    phones, logmel = (load_extractor(FeatureSpec(name=name)) for name in ("phones", "logmel"))
    cache, pcm = FeatureCache(), speech(1.0)
    for session, extractor in (("a", phones), ("a", logmel), ("b", phones), ("a", phones)):
        sound = request_sound(pcm, audio_context_range(extractor, WINDOWS), 3, 1)
        steps = asked(cache, session, extractor, 3, sound, 1)
        assert steps is not None
        np.testing.assert_allclose(steps, alone(extractor, sound, 1), atol=2e-5)


def test_memory_is_bounded() -> None:
    extractor = Counting(load_extractor(FeatureSpec(name="logmel")))
    cache, pcm, audio_range = FeatureCache(sessions=2), speech(1.0), audio_context_range(extractor, WINDOWS)
    whole = audio_range.past + audio_range.future
    for session, first in (("a", 0), ("b", 0), ("a", 1), ("c", 0), ("a", 2), ("b", 1)):
        asked(cache, session, extractor, first, request_sound(pcm, audio_range, first, 1), 1)
    assert extractor.pushed == [whole, whole, FRAME_SAMPLES, whole, FRAME_SAMPLES, whole], "b is the one"
    entry = cache._entries["a"]
    assert len(entry.steps) <= KEPT_STEPS and len(entry.pcm) == whole


def test_a_stream_that_failed_is_not_asked_again() -> None:
    extractor = Counting(load_extractor(FeatureSpec(name="phones")))
    cache, pcm, audio_range = FeatureCache(), speech(1.0), audio_context_range(extractor, WINDOWS)
    for first in (0, 1, 2):
        sound = request_sound(pcm, audio_range, first, 1)
        if first == 1:
            cache._entries["s"].stream.push = lambda pcm: 1 / 0  # type: ignore[assignment, method-assign, misc]
            with pytest.raises(ZeroDivisionError):
                asked(cache, "s", extractor, first, sound, 1)
            continue
        steps = asked(cache, "s", extractor, first, sound, 1)
        assert steps is not None
        np.testing.assert_allclose(steps, alone(extractor, sound, 1), atol=2e-5)
    assert extractor.pushed == [audio_range.past + audio_range.future] * 2


def test_what_was_not_encoded_for_another_s_failure_is_encoded_next_time() -> None:
    broken, phones = Counting(load_extractor(FeatureSpec(name="logmel"))), load_extractor(FeatureSpec(name="phones"))
    cache, pcm = FeatureCache(), speech(1.0)

    def span(session: str, extractor: FeatureExtractor, first: int) -> SoundSpan:
        sound = request_sound(pcm, audio_context_range(extractor, WINDOWS), first, 1)
        return SoundSpan(session, extractor, first, sound, step_total(1))

    cache.steps([span("guilty", broken, 0), span("innocent", phones, 0)])
    cache._entries["guilty"].stream.push = lambda pcm: 1 / 0  # type: ignore[assignment, method-assign, misc]
    with pytest.raises(ZeroDivisionError):
        cache.steps([span("guilty", broken, 1), span("innocent", phones, 1)])
    (steps,) = cache.steps([wanted := span("innocent", phones, 1)])
    assert steps is not None
    np.testing.assert_allclose(steps, alone(phones, wanted.pcm, 1), atol=2e-5)


def test_ticks_that_overlap_are_answered_right() -> None:
    extractor, cache, pcm = load_extractor(FeatureSpec(name="phones")), FeatureCache(), speech(2.5)
    audio_range = audio_context_range(extractor, WINDOWS)

    def ask(first: int) -> None:
        sound = request_sound(pcm, audio_range, first, 1)
        steps = asked(cache, "s", extractor, first, sound, 1)
        if steps is not None:
            np.testing.assert_allclose(steps, alone(extractor, sound, 1), atol=2e-5)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, [first + late for first in range(0, 48, 2) for late in (1, 0)]))
