"""The 15 visemes of MPEG-4 / Oculus lip sync, and the viseme of any IPA phone espeak-ng may utter.

A viseme is what can be seen of a phone. A phone is looked up by its first IPA letter (an affricate by its release);
length, tone, nasality and secondary articulation are not seen. Rounding is, and decides among vowels.
"""

# ruff: noqa: RUF001 -- IPA letters are meant, not the Latin ones they resemble
from __future__ import annotations

from functools import lru_cache

VISEMES = ("sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "ih", "oh", "ou")
VOWELS = ("aa", "E", "ih", "oh", "ou")
SILENCE = VISEMES[0]

_LETTERS: dict[str, str] = {
    "PP": "pbmɓʙ",
    "FF": "fvɱʋⱱɸβ",
    "TH": "θð",
    "DD": "tdʈɖɗ",
    "kk": "kgɡɠqɢʛxɣχʁħʕhɦʔŋɴcɟʄçʝɰʀʡʢʜ",
    "CH": "ʃʒɕʑʂʐɧʧʤʨʥ",
    "SS": "szɬɮʦʣ",
    "nn": "nlɲɳɭʎʟɫɺǀǁǃǂ",
    "RR": "rɹɾɽɻɚɝʴ",
    "aa": "aɑɐʌæɶä",
    "E": "eɛεəɘɜᵊ",
    "ih": "iɪɨjɯᵻ",
    "oh": "oɔɒɤøœɞɵ",
    "ou": "uʊʉyʏwʍɥᵿ",
}
_VISEME_OF_LETTER = {letter: viseme for viseme, letters in _LETTERS.items() for letter in letters}

# Affricates look like their release; the letter pair decides.
_PAIRS = {"tʃ": "CH", "dʒ": "CH", "tɕ": "CH", "dʑ": "CH", "ʈʂ": "CH", "ɖʐ": "CH", "tʂ": "CH", "dʐ": "CH", "ts": "SS"}
_PAIRS |= {"dz": "SS", "tɬ": "SS", "pf": "FF", "ɡb": "PP", "kp": "PP", "tθ": "TH", "dð": "TH", "ŋm": "PP"}
_PAIRS |= {"tS": "CH", "dZ": "CH"}
# Where espeak has no IPA for a phone it gives its own ASCII mnemonic.
_MNEMONICS = {"N": "kk", "S": "CH", "Z": "CH", "T": "TH", "D": "TH", "R": "RR", "L": "nn", "I": "ih", "E": "E"}
_MNEMONICS |= {"A": "aa", "O": "oh", "U": "ou", "V": "aa", "Q": "kk", "X": "kk", "@": "E", "0": "oh", "3": "RR"}
_MNEMONICS |= {"?": "kk", "*": "RR"}
_UNSEEN = frozenset("ˈˌːˑ͜͡‿ʰ_|-' ")


@lru_cache(maxsize=4096)
def viseme_of_ipa(ipa: str) -> str:
    """The viseme of one phone: "" and pauses -> "sil"; an unknown phone -> that of its first known letter, else "E".

    "E" (schwa, the mouth half open) is the least wrong answer about a sound of which nothing is known.
    """
    phone = "".join(c for c in ipa if c not in _UNSEEN)
    if not phone:
        return SILENCE
    pair = _PAIRS.get(phone[:2])
    if pair is not None:
        return pair
    for letter in phone:
        viseme = _VISEME_OF_LETTER.get(letter) or _MNEMONICS.get(letter)
        if viseme is not None:
            return viseme
    return "E" if any(letter.isalpha() for letter in phone) else SILENCE


@lru_cache(maxsize=4096)
def split_diphthong(ipa: str) -> tuple[str, ...]:
    """A vowel followed by further letters that look different, as its parts ("aɪ" -> ("a", "ɪ")); else (ipa,)."""
    parts: list[str] = []
    for letter in ipa:
        if letter in _VISEME_OF_LETTER:
            parts.append(letter)
        elif parts:
            parts[-1] += letter  # a diacritic belongs to its letter
        else:
            return (ipa,)
    if len(parts) < 2 or viseme_of_ipa(parts[0]) not in VOWELS or len({viseme_of_ipa(p) for p in parts}) == 1:
        return (ipa,)
    return tuple(parts)
