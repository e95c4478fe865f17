"""The contract that every extractor keeps: silence outside, spans equal the whole, streams equal the file."""

import numpy as np
import pytest

from being.audio.extractors import load_extractor
from being.audio.features import STEP, FeatureExtractor, FeatureSpec, padded_span, step_count
from being.audio.logmel import LogMel
from being.audio.phones import Phones
from being.errors import InputError


def _sound(samples: int = 20_011, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    swell = np.interp(np.arange(samples), np.linspace(0, samples, 30), rng.random(30))
    return (0.2 * swell * rng.normal(size=samples)).astype(np.float32)


@pytest.fixture(params=["logmel", "phones"])
def extractor(request: pytest.FixtureRequest) -> FeatureExtractor:
    return load_extractor(FeatureSpec(name=request.param))


def test_steps_of_a_sound(extractor: FeatureExtractor) -> None:
    steps = extractor(_sound())
    assert steps.shape == (step_count(20_011), extractor.width) == (63, 32)
    assert steps.dtype == np.float32
    assert np.isfinite(steps).all()


@pytest.mark.parametrize("sizes", [(1, 17, 333), (640,), (5000, 1), (20_011,)])
def test_a_stream_equals_the_file(extractor: FeatureExtractor, sizes: tuple[int, ...]) -> None:
    pcm = _sound()
    stream = extractor.stream()
    for _ in range(2):  # a flushed stream is as new
        parts, start, k = [], 0, 0
        while start < len(pcm):
            parts.append(stream.push(pcm[start : start + sizes[k % len(sizes)]]))
            start += sizes[k % len(sizes)]
            k += 1
        parts.append(stream.flush())
        np.testing.assert_allclose(np.concatenate(parts), extractor(pcm), atol=1e-4)


def test_a_stream_answers_as_soon_as_the_right_context_is_there(extractor: FeatureExtractor) -> None:
    pcm = _sound()
    stream = extractor.stream()
    needed = 10 * STEP + extractor.right_context
    assert len(stream.push(pcm[: needed - 1])) == 9
    assert len(stream.push(pcm[needed - 1 : needed])) == 1


def test_a_span_with_its_context_equals_the_whole(extractor: FeatureExtractor) -> None:
    pcm = _sound(40_000)
    first, count = 70, 9
    history = -(-extractor.left_context // STEP)
    span = pcm[(first - history) * STEP : (first + count) * STEP + extractor.right_context]
    np.testing.assert_allclose(extractor(span, history, count), extractor(pcm)[first : first + count], atol=1e-5)


def test_nothing_outside_the_stated_context_is_heard(extractor: FeatureExtractor) -> None:
    pcm = _sound(40_000)
    step = 60
    changed = pcm.copy()
    changed[: step * STEP - extractor.left_context] = 0.7
    changed[(step + 1) * STEP + extractor.right_context :] = -0.7
    np.testing.assert_array_equal(extractor(changed, step, 1), extractor(pcm, step, 1))


def test_outside_the_sound_is_silence(extractor: FeatureExtractor) -> None:
    pcm = _sound()
    silence = extractor(np.zeros(0, np.float32), 0, 1)
    before = extractor(pcm, -5, 1)  # 100 ms before: beyond the right context
    np.testing.assert_allclose(before, silence, atol=1e-6)
    padded = np.concatenate([np.zeros(3 * STEP, np.float32), pcm])
    np.testing.assert_allclose(extractor(padded)[3:], extractor(pcm), atol=1e-5)
    assert len(extractor(pcm, 0, 0)) == 0


def test_digital_silence_is_one_constant_step(extractor: FeatureExtractor) -> None:
    steps = extractor(np.zeros(32_000, np.float32))
    np.testing.assert_allclose(steps, np.broadcast_to(steps[0], steps.shape), atol=1e-6)


def test_padded_span() -> None:
    pcm = np.arange(1, 5, dtype=np.float32)
    np.testing.assert_array_equal(padded_span(pcm, -2, 6), [0, 0, 1, 2, 3, 4, 0, 0])
    np.testing.assert_array_equal(padded_span(pcm, -5, -2), [0, 0, 0])
    np.testing.assert_array_equal(padded_span(pcm, 7, 9), [0, 0])


def test_unknown_features_are_refused() -> None:
    with pytest.raises(InputError, match=r"'hubert' is unknown.*logmel, phones, wav2vec2, deepspeech"):
        load_extractor(FeatureSpec(name="hubert"))
    with pytest.raises(InputError, match="does not take the parameters"):
        load_extractor(FeatureSpec(name="logmel", params={"colour": "red"}))


def test_the_packaged_extractors_state_their_latency() -> None:
    assert LogMel().right_context <= 0.060 * 16_000
    assert Phones().right_context <= 0.060 * 16_000
    assert Phones().left_context <= 16_000
