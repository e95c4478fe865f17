"""The feature extractors by name, as avatar.json names them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from being.audio.features import FeatureExtractor, FeatureSpec
from being.errors import InputError


def load_extractor(spec: FeatureSpec) -> FeatureExtractor:
    """The extractor an avatar names.

    Raises
    ------
    InputError
        The name or a parameter is unknown.
    """
    builders: dict[str, Callable[..., FeatureExtractor]] = {
        "logmel": _logmel,
        "phones": _phones,
        "wav2vec2": _wav2vec2,
        "deepspeech": _deepspeech,
    }
    if spec.name not in builders:
        raise InputError(f"feature name {spec.name!r} is unknown", f"Use one of: {', '.join(builders)}")
    try:
        return builders[spec.name](**spec.params)
    except TypeError as error:
        raise InputError(f"feature {spec.name!r} does not take the parameters {spec.params}: {error}") from error


# Each builder imports its own file, so that nobody pays for features that are not used.


def _logmel(**params: Any) -> FeatureExtractor:
    from being.audio.logmel import LogMel

    return LogMel(**params)


def _phones(**params: Any) -> FeatureExtractor:
    from being.audio.phones import Phones

    return Phones(**params)


def _wav2vec2(**params: Any) -> FeatureExtractor:
    from being.audio.wav2vec2 import Wav2Vec2

    return Wav2Vec2(**params)


def _deepspeech(**params: Any) -> FeatureExtractor:
    from being.audio.deepspeech import DeepSpeechFile

    if "path" not in params:
        raise InputError(
            "deepspeech features are not computed here: this avatar speaks from a file of them",
            "being render SOUND --features aud_ds.npy --avatar ...",
        )
    return DeepSpeechFile(**params)
