"""A client's pieces of sound: held until a frame reads them, and the same sound as if each had been converted alone."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from support.api_server import tone
from support.live import tiny_facts, tiny_session

from being.avatar.folder import Avatar
from being.live.requests import OutputFormat
from being.live.session import Limits, Session
from being.server.speech_input import SpeechInput

FRAME_S = 0.04


def spoken(session: Session, rate: int, piece_s: float, *, at_once: bool) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What a second of sound in pieces is drawn from and heard as, frame by frame."""
    speech, pcm = SpeechInput(session, rate), tone(1.0, rate)
    size = 2 * round(piece_s * rate) + 1  # no whole number of samples
    session.before_frames = speech.settle
    drawn, heard, sent = [], [], 0
    for frame in range(40):
        now = frame * FRAME_S
        while sent * piece_s < now and sent * size < len(pcm):
            asyncio.run(speech.take(pcm[sent * size : (sent + 1) * size], lambda: now))  # noqa: B023 - called at once
            sent += 1
            if at_once:
                speech.settle()
        if sent * size >= len(pcm):
            speech.end(now)
        take = session.take(1, now)
        drawn.append(take.request.pcm)
        heard.append(take.sound)
    assert speech.taken_bytes == len(pcm)
    return drawn, heard


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize("piece_s", [0.005, 0.02, 0.05])
def test_held_pieces_are_the_same_sound_bit_for_bit(tiny_avatar: Avatar, rate: int, piece_s: float) -> None:
    held = spoken(tiny_session(tiny_avatar), rate, piece_s, at_once=False)
    alone = spoken(tiny_session(tiny_avatar), rate, piece_s, at_once=True)
    assert max(np.abs(sound).max() for sound in alone[1]) > 0.1, "something was said"
    for ours, theirs in zip(held, alone, strict=True):
        np.testing.assert_array_equal(np.concatenate(ours), np.concatenate(theirs))


def test_a_piece_waits_for_company_or_its_frame(tiny_avatar: Avatar) -> None:
    session = tiny_session(tiny_avatar)
    speech = SpeechInput(session, 16_000)
    asyncio.run(speech.take(bytes(640), lambda: 1.0))
    assert session.waiting_s == 0.0 and speech.taken_bytes == 640
    speech.settle()
    assert 0.01 < session.waiting_s <= 0.02, "the resampler holds back a little"
    asyncio.run(speech.take(bytes(640), lambda: 1.0))
    assert session.waiting_s <= 0.02
    asyncio.run(speech.take(bytes(640), lambda: 1.0))
    assert session.waiting_s > 0.05, "a frame's sound is converted at once"


def test_held_sound_without_room_is_refused_when_it_is_converted(tiny_avatar: Avatar) -> None:
    session = Session("a", tiny_facts(tiny_avatar), OutputFormat(64, 48), limits=Limits(buffered_s=0.01))
    speech = SpeechInput(session, 16_000)
    assert asyncio.run(speech.take(bytes(640), lambda: 0.0)) is None
    problem = speech.settle()
    assert problem is not None and problem.details.status == 413
    assert speech.settle() is None


def test_an_interruption_drops_what_is_held(tiny_avatar: Avatar) -> None:
    session = tiny_session(tiny_avatar)
    speech = SpeechInput(session, 16_000)
    asyncio.run(speech.take(tone(0.02), lambda: 0.0))
    speech.drop()
    speech.settle()
    assert session.waiting_s == 0.0
