"""The real espeak-ng speaks, and its phone times are where the sound is."""

import numpy as np
import pytest

from being.audio import espeak
from being.audio.phones_training.voices import HELD_OUT_VOICES
from being.errors import InputError

needs_espeak = pytest.mark.skipif(not espeak.available(), reason="libespeak-ng is not installed")


@needs_espeak
def test_events_cover_the_utterance_without_gaps() -> None:
    speech = espeak.synthesize("A paper map.", "gmw/en-US+f3", lead_s=0.25, tail_s=0.5)
    assert speech.pcm.dtype == np.float32
    assert 0.05 < np.abs(speech.pcm).max() <= 1.0
    assert speech.events[0].start_s == 0.0
    assert speech.events[-1].end_s == pytest.approx(speech.seconds)
    for event, following in zip(speech.events, speech.events[1:], strict=False):
        assert event.end_s == following.start_s
        assert event.end_s > event.start_s
    assert [e.viseme for e in speech.events].count("PP") == 4
    assert speech.events[0].viseme == "sil" and speech.events[0].end_s >= 0.25


@needs_espeak
def test_a_stop_begins_with_its_closure() -> None:
    speech = espeak.synthesize("a paper apple", "gmw/en-US+f3")
    sound = [e for e in speech.events if e.ipa == "p"]
    assert len(sound) == 3
    for event in sound:
        closure = speech.pcm[round(event.start_s * 16000) :][:320]
        vowel = speech.pcm[round(event.start_s * 16000) - 960 :][:320]
        assert np.abs(closure).max() < 0.2 * np.abs(vowel).max()


@needs_espeak
def test_diphthongs_move() -> None:
    visemes = [e.viseme for e in espeak.synthesize("my", "gmw/en-US").events]
    assert visemes[visemes.index("PP") :][:3] == ["PP", "aa", "ih"]


@needs_espeak
def test_faster_is_shorter() -> None:
    slow = espeak.synthesize("One two three.", "gmw/en-US", rate_wpm=120)
    assert espeak.synthesize("One two three.", "gmw/en-US", rate_wpm=240).seconds < 0.8 * slow.seconds


@needs_espeak
def test_the_held_out_voices_exist_and_differ() -> None:
    sounds = [espeak.synthesize("Hello.", voice).pcm for voice in HELD_OUT_VOICES]
    for k, sound in enumerate(sounds):
        for other in sounds[k + 1 :]:
            n = min(len(sound), len(other))
            assert np.abs(sound[:n] - other[:n]).max() > 0.01


@needs_espeak
def test_an_unknown_voice_is_named() -> None:
    with pytest.raises(InputError, match="no voice 'xx/klingonish'"):
        espeak.synthesize("a", "xx/klingonish")


def test_without_the_library_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("BEING_ESPEAK_LIBRARY", str(tmp_path / "nothing.so"))
    monkeypatch.setattr(espeak, "_library", None)
    assert not espeak.available()
    with pytest.raises(espeak.MissingEspeakError, match="apt install espeak-ng"):
        espeak.synthesize("a")
