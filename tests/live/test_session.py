"""A session's sound, playhead and generation, on plain numbers."""

from __future__ import annotations

import numpy as np
import pytest

from being.avatar.folder import Avatar
from being.constants import FPS
from being.errors import InputError
from being.live.audio_timeline import AudioTimeline
from being.live.requests import FRAME_SAMPLES, AudioContextRange, AvatarFacts, OutputFormat
from being.live.session import FADE_WEIGHTS, MARGIN, OUTPUT_FRAME, Limits, Session

AUDIO_RANGE = AudioContextRange(past=8960, future=1280)
FLOWING = Limits(onset_s=0.0)


@pytest.fixture
def facts(tiny_avatar: Avatar) -> AvatarFacts:
    return AvatarFacts("tiny", 64, 48, AUDIO_RANGE, tiny_avatar.motion)


def make_session(facts: AvatarFacts, limits: Limits = FLOWING) -> Session:
    return Session("s", facts, OutputFormat(64, 48), limits=limits)


def tone(frames: float, level: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """A rising ramp, so that every sample is recognisable, at both rates."""
    model_pcm = np.linspace(level / 2, level, int(frames * FRAME_SAMPLES)).astype(np.float32)
    return model_pcm, np.repeat(model_pcm, 3)[:, None]


def test_a_line_reads_silence_where_nothing_was_said() -> None:
    line = AudioTimeline(start=10)
    line.append(np.ones(5, np.float32))
    line.pad_to(20)
    line.append(np.full(5, 2, np.float32))
    np.testing.assert_array_equal(line.read(8, 27), [0] * 2 + [1] * 5 + [0] * 5 + [2] * 5 + [0] * 2)
    line.forget(15)
    np.testing.assert_array_equal(line.read(8, 22), [0] * 12 + [2] * 2)
    assert line.end == 25
    with pytest.raises(ValueError, match="does not fit"):
        line.append(np.ones((5, 2), np.float32))


def test_requests_carry_the_sound_within_range_and_the_sound_heard(facts: AvatarFacts) -> None:
    session = make_session(facts)
    model_pcm, playback_pcm = tone(10)
    session.push_audio(model_pcm, playback_pcm, 0.0)
    one, two = session.take(1, 0.0), session.take(3, 0.04)
    assert (one.request.first, one.request.count, two.request.first, two.request.count) == (0, 1, 1, 3)
    assert len(two.request.pcm) == AUDIO_RANGE.past + 2 * FRAME_SAMPLES + AUDIO_RANGE.future
    assert not one.request.pcm[: AUDIO_RANGE.past].any()  # before the start is silence
    np.testing.assert_array_equal(one.request.pcm[AUDIO_RANGE.past :], model_pcm[: AUDIO_RANGE.future])
    np.testing.assert_array_equal(
        two.request.pcm[-AUDIO_RANGE.future :], model_pcm[3 * FRAME_SAMPLES :][: AUDIO_RANGE.future]
    )
    np.testing.assert_array_equal(np.concatenate([one.sound, two.sound]), playback_pcm[: 4 * OUTPUT_FRAME])
    assert session.waiting_s == pytest.approx(6 / 25)


def test_sound_starts_behind_what_frames_have_read(facts: AvatarFacts) -> None:
    session = make_session(facts)
    session.take(2, 0.0)  # silence, and the second frame read up to 640 + future
    model_pcm, playback_pcm = tone(2)
    session.push_audio(model_pcm, playback_pcm, 0.05)
    start = FRAME_SAMPLES + AUDIO_RANGE.future
    pcm = np.concatenate([session.take(1, 0.08).sound for _ in range(4)])
    np.testing.assert_array_equal(
        pcm[3 * (start - 2 * FRAME_SAMPLES) :][: len(playback_pcm)], playback_pcm[: 4 * OUTPUT_FRAME]
    )
    assert not pcm[: 3 * (start - 2 * FRAME_SAMPLES)].any()


def test_an_utterance_waits_for_its_second_chunk(facts: AvatarFacts) -> None:
    session = make_session(facts, Limits(onset_s=0.06))
    model_pcm, playback_pcm = tone(1)  # 40 ms
    session.push_audio(model_pcm, playback_pcm, 1.0)
    assert not session.take(1, 1.01).sound.any()
    assert not session.take(1, 1.05).request.pcm.any()
    late = session.take(1, 1.07)  # nobody came: it may not wait for ever
    assert late.request.pcm.any()

    session = make_session(facts, Limits(onset_s=0.06))
    session.push_audio(model_pcm, playback_pcm, 1.0)
    session.end_utterance()
    assert session.take(1, 1.0).request.pcm.any()


def test_chunked_sound_flows_without_a_hole(facts: AvatarFacts) -> None:
    session = make_session(facts, Limits(onset_s=0.06))
    model_pcm, playback_pcm = tone(25)
    heard = []
    for step in range(33):  # a chunk of 33 ms every 33 ms, frames every 40 ms
        session.push_audio(
            model_pcm[528 * step : 528 * (step + 1)], playback_pcm[1584 * step : 1584 * (step + 1)], 0.033 * step
        )
        while len(heard) * 0.04 <= 0.033 * step:
            heard.append(session.take(1, 0.033 * step).sound)
    sound = np.concatenate(heard)[:, 0]
    said = np.flatnonzero(sound)
    np.testing.assert_array_equal(sound[said[0] : said[-1] + 1], playback_pcm[: said[-1] + 1 - said[0], 0])


def test_too_much_waiting_sound_is_refused_whole(facts: AvatarFacts) -> None:
    session = make_session(facts, Limits(onset_s=0.0, buffered_s=1.0))
    session.push_audio(*tone(20), 0.0)
    with pytest.raises(InputError, match="1 s of sound"):
        session.push_audio(*tone(10), 0.0)
    assert session.waiting_s == pytest.approx(0.8)
    with pytest.raises(ValueError, match="does not belong"):
        session.push_audio(tone(1)[0], tone(2)[1], 0.0)


def test_interruption_silences_sound_and_fades_the_face(facts: AvatarFacts) -> None:
    session = make_session(facts)
    session.push_audio(*tone(50), 0.0)
    session.take(5, 0.0)
    assert session.talking
    assert session.interrupt() == 5
    after = [session.take(1, 0.2 + 0.04 * i) for i in range(6)]
    assert all(take.request.generation == 1 for take in after)
    first = after[0].sound[:, 0]
    assert first[0] > 0.2 and not first[480:].any()  # 10 ms of fading, then nothing
    assert np.all(np.diff(first[:480]) < 0)
    assert not any(take.sound.any() for take in after[1:])
    for take, weight in zip(after, [*FADE_WEIGHTS, 0, 0, 0, 0], strict=True):
        assert not take.request.pcm.any()  # the new generation knows nothing of the old sound
        if weight:
            assert take.request.fade is not None
            np.testing.assert_allclose(take.request.fade.weights, [weight], rtol=1e-6)
            assert take.request.fade.pcm[: AUDIO_RANGE.past].any() == (take.request.first < 5 + len(FADE_WEIGHTS))
        else:
            assert take.request.fade is None
    assert not session.talking and session.waiting_s == 0


def test_new_words_right_after_an_interruption_are_heard_at_once(facts: AvatarFacts) -> None:
    session = make_session(facts)
    session.push_audio(*tone(50), 0.0)
    session.take(5, 0.0)
    session.interrupt()
    model_pcm, playback_pcm = tone(3)
    session.push_audio(model_pcm, playback_pcm, 0.2)
    sound = np.concatenate([session.take(2, 0.2).sound, session.take(2, 0.28).sound])
    np.testing.assert_array_equal(sound[480 : 480 + len(playback_pcm)], playback_pcm)


def test_motion_talks_while_the_sound_does(facts: AvatarFacts) -> None:
    session, silent = make_session(facts), make_session(facts)
    session.push_audio(*tone(40), 0.0)
    talking, idle = session.take(40, 0.0).request, silent.take(40, 0.0).request
    assert not np.allclose(talking.head_poses[30:], idle.head_poses[30:])
    np.testing.assert_array_equal(talking.head_poses[0], idle.head_poses[0])
    again = make_session(facts)
    again.push_audio(*tone(40), 0.0)
    pieces = [again.take(count, 0.0).request.head_poses for count in (1, 3, 4, 32)]
    np.testing.assert_allclose(np.concatenate(pieces), talking.head_poses, atol=1e-6)


def test_skipped_frames_are_heard(facts: AvatarFacts) -> None:
    session = make_session(facts)
    model_pcm, playback_pcm = tone(6)
    session.push_audio(model_pcm, playback_pcm, 0.0)
    sound = np.concatenate([session.take(1, 0.0).sound, session.skip(2, 0.1), session.take(3, 0.1).sound])
    np.testing.assert_array_equal(sound, playback_pcm[: 6 * OUTPUT_FRAME])


def backlogs(facts: AvatarFacts, late: dict[int, int], quiet: range, ticks: int, phase_s: float = 0.0) -> list[float]:
    """Seconds of sound that wait after each tick of a microphone that is always open: 20 ms sent at a time, a tick
    `phase_s` after every second piece; the sound of tick t comes `late[t]` ticks later, together with what follows."""
    session = Session("s", facts, OutputFormat(64, 48))
    loud, silent = np.full(FRAME_SAMPLES // 2, 0.2, np.float32), np.zeros(FRAME_SAMPLES // 2, np.float32)
    due: dict[int, int] = {}
    for tick in range(ticks):
        arrival = tick + late.get(tick, 0)
        due[arrival] = due.get(arrival, 0) + 1
    found, said = [], 0
    for tick in range(ticks):
        for _ in range(2 * due.get(tick, 0)):
            block = silent if said // 2 in quiet else loud
            session.push_audio(block, np.repeat(block, 3)[:, None], tick / FPS - 0.001)
            said += 1
        session.take(1, tick / FPS + phase_s)
        found.append(session.waiting_s - (facts.audio_range.future - FRAME_SAMPLES) / 16000)
    return found


def test_sound_waits_no_longer_than_the_margin_once_the_speaker_has_paused(facts: AvatarFacts) -> None:
    backlog = backlogs(facts, {}, quiet=range(30, 35), ticks=80)
    assert max(backlog[5:25]) <= 0.045
    assert max(backlog[40:]) <= MARGIN / 16000 + 0.011 and min(backlog[40:]) >= 0, "and never too short"


def test_late_sound_is_caught_up_in_the_speakers_pauses(facts: AvatarFacts) -> None:
    """A network that stutters costs silence once; the next pauses give it back, and words are never cut."""
    backlog = backlogs(facts, {20: 3, 21: 2, 22: 1}, quiet=range(50, 62), ticks=110)
    assert max(backlog[24:45]) >= backlog[15] + 0.06, "the late sound waits"
    after = backlog[75]
    assert after < max(backlog[24:45]) - 0.03, "and is caught up in the pause"
    assert backlog[109] == pytest.approx(after, abs=1e-6)


def test_a_network_that_stutters_gets_a_margin_and_a_calm_one_loses_it(facts: AvatarFacts) -> None:
    stutters = {tick: 1 for tick in range(20, 100, 10)}
    always = range(0, 2000)
    backlog = backlogs(facts, stutters, quiet=always, ticks=1200)
    assert backlog[105] >= 0.02, "later sound than the margin was seen: it grew"
    assert backlog[1199] <= MARGIN / 16000 + 0.011, "and shrank again when nothing came late any more"


def test_speech_made_beforehand_keeps_its_pauses(facts: AvatarFacts) -> None:
    session = Session("s", facts, OutputFormat(64, 48))
    model_pcm = np.concatenate([np.zeros(640 * 10), np.full(640 * 10, 0.2), np.zeros(640 * 10)]).astype(np.float32)
    session.push_audio(model_pcm, np.repeat(model_pcm, 3)[:, None], 0.0)
    heard = np.concatenate([session.take(1, n / FPS).sound for n in range(30)])[:, 0]
    np.testing.assert_array_equal(heard, np.repeat(model_pcm, 3))


def test_a_line_of_sound_is_what_was_appended() -> None:
    """Whatever the order of appending, forgetting and reading, against a plain array."""
    random = np.random.default_rng(0)
    line, said, forgotten = AudioTimeline(2, start=70), np.zeros((70, 2), np.float32), 70
    for _ in range(1500):
        step = int(random.integers(4))
        if step < 2:
            pcm = random.standard_normal((int(random.integers(0, 900)), 2)).astype(np.float32)
            line.append(pcm)
            said = np.concatenate([said, pcm])
        elif step == 2:
            before = int(random.integers(0, len(said) + 50))
            line.forget(before)
            forgotten = max(forgotten, min(before, len(said)))
        start = int(random.integers(0, len(said) + 100)) - 50
        stop = start + int(random.integers(1, 2000))
        expected = np.zeros((stop - start, 2), np.float32)
        low, high = max(start, forgotten), min(stop, len(said))
        if low < high:
            expected[low - start : high - start] = said[low:high]
        np.testing.assert_array_equal(line.read(start, stop), expected)
        assert line.end == len(said)
