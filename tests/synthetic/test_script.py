"""What is said in other languages sounds like them."""

# ruff: noqa: RUF001 -- IPA letters are meant, not the Latin ones they resemble
from __future__ import annotations

import pytest

from being.audio import espeak
from being.synthetic.script import ENGLISH, SENTENCES
from being.synthetic.voice import DEFAULT_VOICES, default_voices, speak

# Phones of a language that English does without.
OWN = {"de": {"ç", "x", "øː", "y", "yː", "œ"}, "es": {"β", "ɣ", "ʎ", "ɲ", "r"}, "zh": {"ɕ", "tɕ", "tɕh", "χ", "y"}}


@pytest.mark.skipif(not espeak.available(), reason="espeak-ng is not installed")
@pytest.mark.parametrize("language", list(OWN))
def test_a_language_is_spoken_with_its_own_phones(language: str) -> None:
    found: set[str] = set()
    for text in SENTENCES[language]:
        speech = speak(text, default_voices(language)[0])
        phones = [event.ipa for event in speech.events if event.ipa]
        assert 2 < len(phones) / speech.seconds < 25, text
        found |= set(phones)
    assert len(found & OWN[language]) >= 3
    assert not found & {"θ", "ð"} or language == "es"  # a text spelled out in English has them


@pytest.mark.skipif(not espeak.available(), reason="espeak-ng is not installed")
def test_every_default_voice_exists() -> None:
    known = {voice.identifier for voice in espeak.voices()}
    variants = {variant.identifier.removeprefix("!v/") for variant in espeak.variants()}
    for voices in DEFAULT_VOICES.values():
        for voice in voices:
            identifier, _, variant = voice.partition("+")
            assert identifier in known and (not variant or variant in variants), voice


def test_every_language_has_sentences_and_voices_that_tests_do_not_need() -> None:
    from being.audio.phones_training.voices import HELD_OUT_LANGUAGES, HELD_OUT_VARIANTS

    assert set(SENTENCES) == set(DEFAULT_VOICES) and ENGLISH in SENTENCES
    assert not set(SENTENCES) & set(HELD_OUT_LANGUAGES)
    assert all(voice.partition("+")[2] not in HELD_OUT_VARIANTS for some in DEFAULT_VOICES.values() for voice in some)
    assert all(len(set(some)) == len(some) >= 16 for some in SENTENCES.values())
