"""What a performance promises: closures, silence, loudness, short anticipation, repeatability."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from being.audio import espeak
from being.audio.espeak import PhoneEvent
from being.audio.visemes import VISEMES
from being.errors import FormatError, InputError
from being.synthetic import Performance, frame_truth, listen, perform, plan
from being.synthetic.mouth import CONTROLS, RISE_S, SMOOTH_S, mouth_curves
from being.synthetic.voice import FORMANT, SAMPLE_RATE, default_voices, normalise, speak

JAW, PRESS, ROLL = (CONTROLS.index(name) for name in ("jaw", "press", "roll"))
TEXT = "My brother bought five fresh figs and a very big bag of warm pepper buns."


@pytest.fixture(scope="module", params=["formant", "espeak"])
def spoken(request: pytest.FixtureRequest) -> Performance:
    if request.param == "espeak" and not espeak.available():
        pytest.skip("espeak-ng is not installed")
    return perform(TEXT, FORMANT if request.param == "formant" else None, seed=3)


def opening(clip: Performance) -> np.ndarray:
    return np.array([frame_truth(clip.state(i), 512, 512).mouth_open for i in range(clip.frames)])


def test_every_p_b_m_closes_the_lips_for_a_frame(spoken: Performance) -> None:
    closed = [frame_truth(spoken.state(i), 512, 512).lips_closed for i in range(spoken.frames)]
    labials = spoken.event_times[spoken.event_visemes == VISEMES.index("PP")]
    assert len(labials) >= 5
    for start, end in labials:
        assert any(closed[int(start * 25) : int(end * 25) + 1]), (start, end)
    closures = spoken.closures()
    assert len(closures) == len(labials)
    for (start, end), (begun, over) in zip(closures, labials, strict=True):
        assert begun - 0.02 <= start < end <= over + 0.02, (start, end)
        assert any(closed[int(start * 25) : int(end * 25) + 1]), (start, end)


def test_the_mouth_rests_closed_in_silence_and_opens_in_speech(spoken: Performance) -> None:
    gap = opening(spoken)
    assert gap[~spoken.talking].max() < 0.5
    assert 10 < np.percentile(gap[spoken.talking], 90) < 60


def test_the_opening_follows_loudness_without_lag(spoken: Performance) -> None:
    gap = opening(spoken)
    rms = np.sqrt(np.square(spoken.pcm.reshape(spoken.frames, -1)).mean(1))
    scores = {lag: np.corrcoef(gap[3:-3], np.roll(rms, lag)[3:-3])[0, 1] for lag in range(-3, 4)}
    best = max(scores, key=scores.__getitem__)
    assert abs(best) <= 1
    assert scores[best] > 0.45


def curves(*events: PhoneEvent) -> tuple[np.ndarray, np.ndarray]:
    times = np.arange(0, 2, 0.005)
    return times, mouth_curves(events, np.full(2 * SAMPLE_RATE, 0.1, np.float32), times)[0]


def test_lips_move_at_most_80_ms_before_the_sound() -> None:
    times, controls = curves(PhoneEvent(1.0, 1.2, "a", "aa", True))
    first = times[np.nonzero(controls[:, JAW] > 0.01)[0][0]]
    assert 1.0 - RISE_S - SMOOTH_S - 1e-9 <= first < 1.0
    assert RISE_S + SMOOTH_S <= 0.081
    assert controls[times > 1.35, JAW].max() < 0.01


@pytest.mark.parametrize("seconds", [0.03, 0.08, 0.2])
@pytest.mark.parametrize(("viseme", "column"), [("PP", PRESS), ("FF", ROLL)])
def test_a_closure_is_complete_for_more_than_a_frame_however_short(seconds: float, viseme: str, column: int) -> None:
    middle = PhoneEvent(1.0, 1.0 + seconds, "b", viseme, False)
    times, controls = curves(
        PhoneEvent(0.8, 1.0, "a", "aa", True), middle, PhoneEvent(1.0 + seconds, 1.4, "a", "aa", True)
    )
    whole = times[controls[:, column] > 0.999]
    assert whole[-1] - whole[0] >= 0.04


def test_the_mouth_depends_on_nearby_speech_only() -> None:
    word = [PhoneEvent(0.2, 0.3, "a", "aa", True), PhoneEvent(0.3, 0.4, "m", "PP", False)]
    times, alone = curves(*word)
    _, followed = curves(*word, PhoneEvent(0.8, 1.0, "u", "ou", True))
    early = times < 0.7
    np.testing.assert_allclose(alone[early], followed[early], atol=1e-12)


def test_motion_knows_the_seed_and_the_mouth_does_not(spoken: Performance) -> None:
    voice = str(spoken.span_voices[0])
    again, other = (perform(TEXT, voice, seed=s) for s in (3, 4))
    frames = min(again.frames, spoken.frames, other.frames)
    if voice == FORMANT:
        for field in fields(Performance):
            np.testing.assert_array_equal(getattr(spoken, field.name), getattr(again, field.name))
    else:  # espeak's glottis starts where its last utterance left it: equal to the ear, not to the bit
        np.testing.assert_array_equal(spoken.event_phones, other.event_phones)
        assert np.abs(spoken.controls[:frames] - other.controls[:frames]).mean() < 0.01
        assert abs(spoken.frames - again.frames) <= 1
        if spoken.frames == again.frames:  # one frame more draws the whole motion anew
            np.testing.assert_allclose(spoken.blink, again.blink, atol=1e-6)
    assert np.abs(spoken.head[:frames] - other.head[:frames]).max() > 0.01


def test_listening_keeps_the_mouth_shut_and_blinks() -> None:
    clip = listen(30.0, seed=1)
    assert clip.frames == 750
    assert not clip.talking.any()
    assert opening(clip).max() < 0.5
    shut = clip.blink > 0.9
    blinks = np.count_nonzero(np.diff(shut.astype(int)) == 1)
    assert 5 <= blinks <= 18
    assert 2.0 < np.degrees(np.abs(np.arcsin(clip.head[:, 0, 2]))).max() < 16
    assert np.abs(clip.torso[:, :, 3] - clip.torso[:, :, 3].mean(0)).max() < 0.4


def test_poses_are_rotations() -> None:
    clip = listen(4.0)
    for poses in (clip.head, clip.torso):
        rotations = poses[:, :, :3].astype(np.float64)
        np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3)[None].repeat(100, 0), atol=1e-5)
        assert np.linalg.det(rotations).min() > 0.99
        assert np.abs(np.diff(poses[:, :, 3], axis=0)).max() < 0.1


def test_plan_has_length_voices_and_silence() -> None:
    clip = plan(20.0, seed=2, voices=[FORMANT, FORMANT + "+high"])
    assert clip.frames == 500
    assert len(clip.pcm) == 320_000
    assert set(clip.span_voices) == {FORMANT, FORMANT + "+high"}
    assert 0.05 < (~clip.talking).mean() < 0.5
    assert len(set(clip.texts)) == len(clip.texts)


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    clip = listen(1.0)
    clip.save(tmp_path / "clip.npz")
    loaded = Performance.load(tmp_path / "clip.npz")
    for field in fields(Performance):
        np.testing.assert_array_equal(getattr(clip, field.name), getattr(loaded, field.name))


def test_a_file_that_is_no_performance_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(FormatError, match=r"bad\.npz"):
        Performance.load(tmp_path / "bad.npz")
    np.savez(tmp_path / "other.npz", blink=np.zeros(3))
    with pytest.raises(FormatError, match=r"other\.npz"):
        Performance.load(tmp_path / "other.npz")


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e6])
def test_a_senseless_length_is_refused(seconds: float) -> None:
    with pytest.raises(InputError, match="seconds"):
        listen(seconds)


def test_the_formant_voice_sounds_when_it_says_so() -> None:
    speech = speak("mama, pass a big shoe", FORMANT)
    level = {"": [], "a": [], "p": []}
    for event in speech.events:
        part = speech.pcm[int(event.start_s * SAMPLE_RATE) : int(event.end_s * SAMPLE_RATE)]
        if event.ipa in level:
            level[event.ipa].append(float(np.sqrt(np.square(part).mean())))
    assert np.mean(level["a"]) > 2 * np.mean(level["p"])
    ends = [e.end_s for e in speech.events]
    assert [e.start_s for e in speech.events[1:]] == pytest.approx(ends[:-1])
    assert ends[-1] == pytest.approx(speech.seconds, abs=1e-3)


def test_normalise_sets_the_level() -> None:
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    quiet, loud = normalise(0.001 * noise), normalise(0.2 * noise)
    np.testing.assert_allclose(quiet, loud, rtol=1e-3)
    assert np.abs(loud).max() <= 0.981
    np.testing.assert_array_equal(normalise(np.zeros(640, np.float32)), 0)


def test_default_voices_leave_the_test_voices_alone() -> None:
    from being.audio.phones_training.voices import HELD_OUT_VARIANTS, HELD_OUT_VOICES

    for voice in default_voices():
        assert voice not in HELD_OUT_VOICES
        assert voice.partition("+")[2] not in HELD_OUT_VARIANTS


def test_state_is_the_frame_s() -> None:
    clip = listen(1.0)
    raised = replace(clip, brow=clip.brow + 1)
    assert raised.state(3).brow_left == pytest.approx(clip.state(3).brow_left + 1)
    np.testing.assert_allclose(clip.state(5).head, clip.head[5])
