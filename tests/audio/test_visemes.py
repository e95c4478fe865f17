"""Phones of any language become visemes; diphthongs come apart where their parts look different."""

# ruff: noqa: RUF001 -- IPA letters are meant, not the Latin ones they resemble
import pytest

from being.audio.visemes import VISEMES, split_diphthong, viseme_of_ipa


@pytest.mark.parametrize(
    ("ipa", "viseme"),
    [
        ("", "sil"), ("p", "PP"), ("bʰ", "PP"), ("m̩", "PP"), ("f", "FF"), ("θ", "TH"), ("d̪", "DD"), ("ɡ", "kk"),
        ("tʃ", "CH"), ("t͡ʃʰ", "CH"), ("dz", "SS"), ("n̩", "nn"), ("ɾʲ", "RR"), ("ɑː", "aa"), ("æ", "aa"), ("ə", "E"),
        ("iː", "ih"), ("ɔ", "oh"), ("yː", "ou"), ("ˈu", "ou"), ("w", "ou"),
    ],
)  # fmt: skip
def test_known_phones(ipa: str, viseme: str) -> None:
    assert viseme_of_ipa(ipa) == viseme


def test_an_unknown_letter_is_a_neutral_vowel_and_a_mark_is_silence() -> None:
    assert viseme_of_ipa("☃x") == "kk"  # its first known letter
    assert viseme_of_ipa("д") == "E"
    assert viseme_of_ipa("_:") == "sil"


def test_there_are_fifteen() -> None:
    assert len(VISEMES) == len(set(VISEMES)) == 15


def test_diphthongs_split_where_they_look_different() -> None:
    assert split_diphthong("aɪ") == ("a", "ɪ")
    assert split_diphthong("aɪ̃") == ("a", "ɪ̃")
    assert split_diphthong("əl") == ("ə", "l")
    assert split_diphthong("oː") == ("oː",)
    assert split_diphthong("eə") == ("eə",)  # both "E"
    assert split_diphthong("tʃ") == ("tʃ",)
    assert split_diphthong("") == ("",)
