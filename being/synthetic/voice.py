"""The synthetic person's voice: espeak-ng's where it is installed, a built-in formant voice otherwise.

A voice is named as espeak names it ("gmw/en-US+f3"); "formant" or "formant+NAME" is the built-in one.
"""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from being.audio import espeak
from being.audio.espeak import Speech
from being.constants import SAMPLE_RATE
from being.synthetic.script import ENGLISH, sentences_in

__all__ = ["DEFAULT_VOICES", "FORMANT", "SAMPLE_RATE", "Speech", "default_voices", "normalise", "speak"]

FORMANT = "formant"
# By language, many speakers of it; none of those kept for tests (audio/phones_training/voices.py).
DEFAULT_VOICES = {
    ENGLISH: (
        "gmw/en-US+f2",
        "gmw/en-US",
        "gmw/en-GB-x-rp+f5",
        "gmw/en-US+m3",
        "gmw/en+f3",
        "gmw/en-US+Alicia",
        "gmw/en-GB-x-rp+adam",
        "gmw/en-US+linda",
    ),
    "de": ("gmw/de+m3", "gmw/de+f2", "gmw/de", "gmw/de+f5"),
    "es": ("roa/es+f2", "roa/es+m3", "roa/es-419+f5", "roa/es"),
    "zh": ("sit/cmn-Latn-pinyin+f2", "sit/cmn-Latn-pinyin", "sit/cmn-Latn-pinyin+f5", "sit/cmn-Latn-pinyin+m3"),
}
LOUDNESS = 0.09  # RMS of the voiced parts after `normalise`


def default_voices(language: str = ENGLISH) -> tuple[str, ...]:
    """The voices footage in a language of `script.SENTENCES` is spoken with here. The formant voice knows English."""
    if language == ENGLISH and not espeak.available():
        return FORMANT, FORMANT + "+high", FORMANT + "+low"
    sentences_in(language)  # refuses a language that nobody speaks
    return DEFAULT_VOICES[language]


def normalise(pcm: NDArray[np.float32]) -> NDArray[np.float32]:
    """The sound at a fixed loudness: the RMS of its louder half is LOUDNESS; peaks stay under 0.98."""
    frames = pcm[: len(pcm) // 320 * 320].reshape(-1, 320)
    power = np.sort(np.square(frames, dtype=np.float64).mean(1))[::-1]
    loud = float(np.sqrt(power[: max(1, len(power) // 2)].mean())) if len(power) else 0.0
    gain = min(LOUDNESS / loud, 0.98 / float(np.abs(pcm).max())) if loud > 1e-6 else 1.0
    return (pcm * gain).astype(np.float32)


def speak(text: str, voice: str | None = None, rate_wpm: int = 165, pitch: int = 50, seed: int = 0) -> Speech:
    """Speak a text with known phones, at a fixed loudness, without silence around it.

    The formant voice is the same bit for bit for the same seed. espeak-ng keeps the state of its glottis between
    utterances, so its sound repeats only to the ear; a saved performance is what makes footage repeatable.

    Raises
    ------
    InputError
        espeak-ng has no such voice.
    MissingEspeakError
        An espeak voice was named and espeak-ng is not installed.
    """
    voice = voice or default_voices()[0]
    if voice.split("+")[0] == FORMANT:
        from being.synthetic.formant import speak_formants

        kind = np.random.default_rng(zlib.crc32(voice.encode()))
        pitch_hz = float(kind.uniform(95, 210)) * (0.7 + 0.6 * pitch / 100)
        speech = speak_formants(text, pitch_hz, 0.92 + pitch_hz / 1000, rate_wpm / 150, seed)
    else:
        speech = espeak.synthesize(text, voice, rate_wpm=rate_wpm, pitch=pitch)
    return replace(speech, pcm=normalise(speech.pcm))
