"""The footage's sound in other voices: what was said, higher or lower, faster or slower, at the film's own time.

Seconds of one voice teach the audio encoder that voice. Played at another rate, a sound has another pitch, other
formants and another pace, as another speaker's; its features, laid back on the film's time, belong to the same frames.
Speed perturbation: Ko et al. 2015, "Audio augmentation for speech recognition".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from being.audio.features import Array, FeatureExtractor
from being.audio.resample import resample
from being.constants import SAMPLE_RATE

GRAIN = 50  # rates are whole fiftieths: filters of few phases


def features_at(extractor: FeatureExtractor, pcm: Array, count: int, rate: float) -> Array:
    """(count, D) feature steps of the sound (S,) played `rate` times as fast, on the time of the sound itself."""
    grains = max(1, round(rate * GRAIN))
    played = resample(pcm, SAMPLE_RATE * grains, SAMPLE_RATE * GRAIN)
    reach = -(-count * GRAIN // grains) + 1
    steps = extractor(played, 0, reach)
    at = np.clip((np.arange(count) + 0.5) * GRAIN / grains - 0.5, 0, reach - 1)
    before = np.minimum(np.floor(at).astype(int), reach - 2)
    share = (at - before)[:, None].astype(np.float32)
    return np.asarray((1 - share) * steps[before] + share * steps[before + 1], np.float32)


def in_other_voices(extractor: FeatureExtractor, pcm: Array, count: int, rates: Sequence[float]) -> Array:
    """(K, count, D) `features_at` each of K rates."""
    found = [features_at(extractor, pcm, count, rate) for rate in rates]
    return np.stack(found) if found else np.zeros((0, count, extractor.width), np.float32)
