"""Requests of any cutting hear what the whole file would."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from support.scene import session_of, speech

from being.audio.extractors import load_extractor
from being.audio.features import FeatureSpec
from being.audio.windows import WindowSpec, file_contexts, look_ahead_s
from being.errors import BeingError, InputError
from being.graph.local import InProcessGraph
from being.graph.sound_encoder import SoundEncoder, request_contexts
from being.live.requests import FRAME_SAMPLES, Fade, audio_context_range, context_steps

LOGMEL = FeatureSpec(name="logmel")


def reach_sound(pcm: np.ndarray, first: int, count: int, windows: WindowSpec) -> np.ndarray:
    audio_range = audio_context_range(load_extractor(LOGMEL), windows)
    padded = np.pad(pcm, (audio_range.past, audio_range.future))
    return padded[FRAME_SAMPLES * first :][: audio_range.past + FRAME_SAMPLES * (count - 1) + audio_range.future]


@pytest.mark.parametrize("look_ahead", [0, 1, 4, "published"])
def test_requests_of_any_cutting_have_the_contexts_of_the_whole(look_ahead: int) -> None:
    windows = WindowSpec(look_ahead=look_ahead)
    extractor = load_extractor(LOGMEL)
    pcm = speech(1.5)
    whole = request_contexts(extractor, windows, reach_sound(pcm, 0, 30, windows), 30)
    assert whole.shape == (30, 8, 16, extractor.width)
    for first, count in ((0, 1), (7, 4), (29, 1), (3, 20)):
        part = request_contexts(extractor, windows, reach_sound(pcm, first, count, windows), count)
        np.testing.assert_allclose(part, whole[first : first + count], atol=1e-4)
    steps = extractor(pcm, -40, 160)  # and they are the extractor's own steps, at the documented places
    if look_ahead != "published":
        np.testing.assert_allclose(whole, file_contexts(pcm, extractor, windows, 30), atol=1e-4)
    low, high = context_steps(windows)
    np.testing.assert_allclose(whole[12, 0, 0], steps[40 + 24 + low], atol=1e-4)
    np.testing.assert_allclose(whole[12, -1, -1], steps[40 + 24 + high], atol=1e-4)


def test_look_ahead_is_counted() -> None:
    extractor = load_extractor(LOGMEL)
    right = extractor.right_context / 16000
    assert audio_context_range(extractor, WindowSpec(look_ahead=0)).look_ahead_s == pytest.approx(right)
    assert audio_context_range(extractor, WindowSpec(look_ahead=1)).look_ahead_s == pytest.approx(0.04 + right)
    published = WindowSpec(look_ahead="published")
    assert audio_context_range(extractor, published).look_ahead_s == pytest.approx(look_ahead_s(published, extractor))


def test_a_request_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(InputError, match="samples"):
        request_contexts(load_extractor(LOGMEL), WindowSpec(look_ahead=1), np.zeros(100, np.float32), 2)


def test_a_fade_mixes_the_old_sound_in(graph: InProcessGraph) -> None:
    windows = WindowSpec(look_ahead=1)
    facts = asyncio.run(graph.prepare("tiny"))
    new = session_of(facts, speech(1, 1)).take(4, 0.0).request
    old = session_of(facts, speech(1, 2)).take(4, 0.0).request
    encoder = SoundEncoder()
    faded = replace(new, fade=Fade(old.pcm, np.array([1, 0.5, 0.25, 0], np.float32)))
    a, b, mixed = encoder.encode([(request, LOGMEL, windows) for request in (new, old, faded)])
    assert not any(isinstance(contexts, BeingError) for contexts in (a, b, mixed))
    np.testing.assert_allclose(mixed[0], b[0], atol=1e-5)
    np.testing.assert_allclose(mixed[1], (a[1] + b[1]) / 2, atol=1e-5)
    np.testing.assert_allclose(mixed[3], a[3], atol=1e-5)


def test_a_request_that_cannot_be_encoded_fails_alone(graph: InProcessGraph) -> None:
    windows = WindowSpec(look_ahead=1)
    facts = asyncio.run(graph.prepare("tiny"))
    good = session_of(facts, speech(1, 1)).take(2, 0.0).request
    short = replace(good, session="short", pcm=good.pcm[1:])
    encoder, lone = SoundEncoder(), SoundEncoder()
    (refused, contexts) = encoder.encode([(short, LOGMEL, windows), (good, LOGMEL, windows)])
    assert isinstance(refused, InputError) and not isinstance(contexts, BeingError)
    np.testing.assert_array_equal(contexts, lone.encode([(good, LOGMEL, windows)])[0])
