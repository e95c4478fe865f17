"""What travels is the new sound; what arrives is the whole request, whatever happened in between."""

from __future__ import annotations

import numpy as np
from support.scene import session_of, speech
from support.tiny import make_motion

from being.graph.channel.new_sound import SoundReceiver, SoundSender
from being.live.requests import FRAME_SAMPLES, AudioContextRange, AvatarFacts, FrameRequest, OutputFormat
from being.live.session import Limits, Session

FACTS = AvatarFacts("tiny", 64, 48, AudioContextRange(past=8000, future=900), make_motion(80))


class Line:
    """A sender and a receiver; counts the samples that travel."""

    def __init__(self) -> None:
        self.sender, self.receiver = SoundSender(), SoundReceiver()

    def carry(self, *requests: FrameRequest) -> int:
        new, kept = self.sender.cut(requests)
        whole = self.receiver.restored([request.session for request in requests], new, kept)
        for request, pcm in zip(requests, whole, strict=True):
            assert np.array_equal(request.pcm, pcm)
        return sum(map(len, new))


def test_a_frame_brings_its_forty_milliseconds() -> None:
    session, line = session_of(FACTS, speech(4.0)), Line()
    assert line.carry(session.take(1, 0.0).request) == 8000 + 900
    for count in (1, 2, 1, 4, 1):
        assert line.carry(session.take(count, 0.0).request) == FRAME_SAMPLES * count


def test_sessions_come_and_go_and_skip() -> None:
    line = Line()
    sessions = {name: Session(name, FACTS, OutputFormat(64, 48), limits=Limits(onset_s=0)) for name in "abc"}
    for name, session in sessions.items():
        pcm = speech(4.0, ord(name))
        session.push_audio(pcm, np.repeat(pcm, 3)[:, None], 0.0)
    line.carry(*(sessions[name].take(1, 0.0).request for name in "ab"))
    assert line.carry(*(sessions[name].take(1, 0.0).request for name in "abc")) == 2 * FRAME_SAMPLES + 8900
    assert line.carry(sessions["b"].take(2, 0.0).request) == 2 * FRAME_SAMPLES
    assert line.carry(*(sessions[name].take(1, 0.0).request for name in "ab")) == 8900 + FRAME_SAMPLES
    sessions["a"].skip(3, 0.0)
    assert line.carry(sessions["a"].take(1, 0.0).request) == 4 * FRAME_SAMPLES
    sessions["a"].skip(40, 0.0)
    assert line.carry(sessions["a"].take(1, 0.0).request) == 8900, "nothing of it was sent before"


def test_an_interruption_changes_the_past() -> None:
    session, line = session_of(FACTS, speech(4.0)), Line()
    line.carry(session.take(3, 0.0).request)
    session.interrupt()
    assert line.carry(session.take(1, 0.0).request) == 8900
    assert line.carry(session.take(1, 0.0).request) == FRAME_SAMPLES


def test_one_session_twice_in_a_message() -> None:
    session, line = session_of(FACTS, speech(4.0)), Line()
    line.carry(session.take(1, 0.0).request, session.take(1, 0.0).request)
    assert line.carry(session.take(1, 0.0).request) == FRAME_SAMPLES
