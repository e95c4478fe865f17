"""Which voices train `phones`, and which it must never hear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from being.audio import espeak

# "training": what may be learned from; "speakers": speakers never heard, in languages that were heard; "languages":
# speakers and languages never heard.
Cast = Literal["training", "speakers", "languages"]

# Variants (speakers) kept out of training, under any language.
HELD_OUT_VARIANTS = ("f4", "m7", "Annie", "Michael", "steph2", "klatt5")
# Languages kept out of training altogether, by espeak tag.
HELD_OUT_LANGUAGES = ("it", "tr")
# The voices of end-to-end tests: nothing in Being may be trained on them, neither `phones` nor an avatar.
HELD_OUT_VOICES = ("gmw/en-US+f4", "gmw/en-US+m7", "gmw/en-GB-x-rp+Annie", "gmw/en-US+Michael")

# Variants that are effects rather than speakers: no phone can be read from a whisper machine or an announcer's echo.
_EFFECTS = {"whisper", "whisperf", "announcer", "fast", "Demonic", "UniRobot", "Tweaky", "croak"}
# Constructed or barely supported languages add phones that no viewer's avatar will say.
_LEFT_OUT_LANGUAGES = {"piqd", "qya", "sjn", "qdb", "py", "jbo", "chr-US-Qaaa-x-west", "be"}
_ENGLISH_SHARE = 0.30
_COMMON_SHARE = 0.40
_COMMON = (
    "es", "es-419", "fr-fr", "fr-be", "de", "pt", "pt-br", "ru", "pl", "nl", "sv", "da", "nb", "fi", "cs", "sk", "hu",
    "ro", "el", "uk", "bg", "hr", "sr", "ca", "id", "ms", "vi", "hi", "bn", "ta", "te", "ko", "ja", "cmn-latn-pinyin",
    "ar", "fa", "he", "sw", "eo", "la",
)  # fmt: skip


@dataclass(frozen=True)
class Speaker:
    """A voice as synthesize() takes it, and the language its text must be in."""

    voice: str
    language: str


class Casting:
    """Draws speakers: a share of English, a share of common languages, the rest of the world."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast
        languages: dict[str, list[str]] = {}
        for voice in espeak.voices():
            if voice.language not in _LEFT_OUT_LANGUAGES:
                languages.setdefault(voice.language, []).append(voice.identifier)
        self.banned = {tag: ids for tag, ids in languages.items() if tag.split("-")[0] in HELD_OUT_LANGUAGES}
        allowed = {tag: ids for tag, ids in languages.items() if tag not in self.banned}
        self.english = [(tag, i) for tag, ids in allowed.items() if tag.startswith("en") for i in ids]
        self.common = [(tag, i) for tag, ids in allowed.items() if tag in _COMMON for i in ids]
        self.others = [
            (tag, i) for tag, ids in allowed.items() if not tag.startswith("en") and tag not in _COMMON for i in ids
        ]
        variants = [v.identifier.removeprefix("!v/") for v in espeak.variants()]
        self.variants = [v for v in variants if v not in HELD_OUT_VARIANTS and v not in _EFFECTS]
        self.held_out_variants = [v for v in variants if v in HELD_OUT_VARIANTS]

    def draw(self, rng: np.random.Generator) -> Speaker:
        if self.cast == "languages":
            language, voices = _choose(rng, list(self.banned.items()))
            return Speaker(f"{_choose(rng, voices)}+{_choose(rng, self.held_out_variants)}", language)
        if self.cast == "speakers":
            language, voice = _choose(rng, self.english if rng.random() < 0.5 else self.common)
            return Speaker(f"{voice}+{_choose(rng, self.held_out_variants)}", language)
        share = rng.random()
        pool_of = self.english if share < _ENGLISH_SHARE else self.common
        if share > _ENGLISH_SHARE + _COMMON_SHARE:
            pool_of = self.others
        language, voice = _choose(rng, pool_of)
        plain = rng.random() < 0.12
        return Speaker(voice if plain else f"{voice}+{_choose(rng, self.variants)}", language)


def _choose(rng: np.random.Generator, items):  # type: ignore[no-untyped-def]
    return items[int(rng.integers(len(items)))]
