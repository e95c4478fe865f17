"""Requests by column: what goes in comes out."""

from __future__ import annotations

import pickle

import numpy as np
from support.tiny import make_motion

from being.inference.frames import PixelFormat
from being.live.request_batch import FrameRequestBatch
from being.live.requests import AudioContextRange, AvatarFacts, FrameRequest, OutputFormat
from being.live.session import Session


def requests() -> list[FrameRequest]:
    facts = AvatarFacts("tiny", 64, 48, AudioContextRange(past=4000, future=900), make_motion(80))
    sessions = [Session(name, facts, OutputFormat(64, 48)) for name in "abc"]
    sessions[1].output = OutputFormat(32, 32, pixel_format=PixelFormat.YUV420)
    sessions[2].take(3, 0.0)
    sessions[2].interrupt()
    return [session.take(count, 0.0).request for session, count in zip(sessions, (1, 4, 2), strict=True)]


def same(one: FrameRequest, other: FrameRequest) -> None:
    for name in ("session", "avatar", "generation", "first", "count", "output"):
        assert getattr(one, name) == getattr(other, name)
    for name in ("pcm", "head_poses", "torso_poses", "eyes"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    assert (one.fade is None) == (other.fade is None) and (one.emotion is None) == (other.emotion is None)
    if one.fade is not None and other.fade is not None:
        assert np.array_equal(one.fade.pcm, other.fade.pcm) and np.array_equal(one.fade.weights, other.fade.weights)


def test_requests_come_out_as_they_went_in() -> None:
    given = requests()
    assert given[2].fade is not None
    batch = pickle.loads(pickle.dumps(FrameRequestBatch.of(given)))
    assert len(batch.formats) == 2, "a format, and its background, travels once"
    for one, other in zip(given, batch.requests(), strict=True):
        same(one, other)


def test_without_sound_the_frames_stay() -> None:
    for given, mute in zip(requests(), FrameRequestBatch.of(requests()).mute().requests(), strict=True):
        assert not len(mute.pcm) and mute.fade is None and np.array_equal(mute.head_poses, given.head_poses)
