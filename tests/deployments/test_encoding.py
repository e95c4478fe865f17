"""The encoding thread: waiting ticks are encoded together, live ones first; what is given up is not drawn."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ray")

from being.deployments.drawing import DrawingThread
from being.deployments.encoding import EncodingThread
from support.scene import session_of, speech

from being.avatar.library import Library
from being.graph.rendered_batch import RenderedBatch
from being.graph.sound_encoder import SoundEncoder
from being.graph.tick import avatar_facts
from being.inference.engine import Engine
from being.inference.frames import Drive
from being.inference.rendered import FrameInfo, RenderedFrames
from being.live.requests import AudioContexts, AvatarFacts, FrameRequest


class Encoder:
    """Encodes nothing, once it may, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.fail = False

    def __call__(self, requests: Sequence[FrameRequest]) -> AudioContexts:
        self.batches.append([request.session for request in requests])
        self.entered.set()
        assert self.gate.wait(10)
        if self.fail:
            raise ValueError("deaf")
        return [
            "no voice" if request.session == "mute" else np.zeros((request.count, 8, 16, 32), np.float32)
            for request in requests
        ]


@pytest.fixture
def facts(tiny_folder: Path) -> AvatarFacts:
    return avatar_facts(Engine(Library([tiny_folder])), SoundEncoder(), "tiny")


@pytest.fixture
def drawn() -> list[list[str]]:
    return []


@pytest.fixture
def drawing(drawn: list[list[str]]) -> DrawingThread:
    def draw(drives: Sequence[Drive]) -> RenderedFrames:
        drawn.append([drive.session for drive in drives])
        return RenderedFrames(FrameInfo.of(drives))

    return DrawingThread(draw)


def request(facts: AvatarFacts, session: str) -> FrameRequest:
    one = session_of(facts, speech(1.0))
    one.id = session
    return one.take(2, 0.0).request


def test_waiting_ticks_are_encoded_together(facts: AvatarFacts, drawing: DrawingThread, drawn: list[list[str]]) -> None:
    encoder, answers = Encoder(), queue.Queue[tuple[str, Any]]()
    encoding = EncodingThread(encoder, drawing)

    def order(name: str, *sessions: str, live: bool = True) -> Any:
        requests = [request(facts, session) for session in sessions]
        return encoding.order(requests, live, lambda answer: answers.put((name, answer)))

    order("first", "a")
    assert encoder.entered.wait(10)
    order("film", "f", live=False)
    order("second", "b", "mute")
    order("third", "c")
    given_up = order("given up", "d")
    given_up.cancel()
    encoder.gate.set()
    got = dict(answers.get(timeout=10) for _ in range(4))
    assert encoder.batches == [["a"], ["b", "mute", "c"], ["f"]]
    assert set(got) == {"first", "second", "third", "film"} and given_up.over
    assert "d" not in {session for batch in drawn for session in batch}
    second = got["second"]
    assert isinstance(second, RenderedBatch) and second.frames.info.sessions == ("b", "b", "mute", "mute")
    assert second.frames.errors == {2: "no voice", 3: "no voice"}


def test_a_tick_that_was_encoded_before_goes_past_the_encoder(facts: AvatarFacts, drawing: DrawingThread) -> None:
    encoder, answers = Encoder(), queue.Queue[Any]()
    requests = [request(facts, "a"), request(facts, "b")]
    contexts: AudioContexts = [np.zeros((2, 8, 16, 32), np.float32), "no voice"]
    EncodingThread(encoder, drawing).order(requests, True, answers.put, contexts)
    answer = answers.get(timeout=10)
    assert isinstance(answer, RenderedBatch) and not encoder.batches
    assert answer.frames.info.sessions == ("a", "a", "b", "b")
    assert answer.frames.errors == {2: "no voice", 3: "no voice"}


def test_a_failure_is_told_to_all_and_the_thread_lives(facts: AvatarFacts, drawing: DrawingThread) -> None:
    encoder, answers = Encoder(), queue.Queue[Any]()
    encoding = EncodingThread(encoder, drawing)
    encoder.gate.set()
    encoder.fail = True
    encoding.order([request(facts, "a")], True, answers.put)
    assert isinstance(answers.get(timeout=10), ValueError)
    encoder.fail = False
    encoding.order([request(facts, "a")], True, answers.put)
    assert isinstance(answers.get(timeout=10), RenderedBatch) and encoding.alive


def test_what_is_given_up_while_it_waits_to_be_drawn_is_not_drawn(facts: AvatarFacts) -> None:
    encoder, gate, entered = Encoder(), threading.Event(), threading.Event()
    encoder.gate.set()
    batches: list[list[str]] = []

    def draw(drives: Sequence[Drive]) -> RenderedFrames:
        batches.append([drive.session for drive in drives])
        entered.set()
        assert gate.wait(10)
        return RenderedFrames(FrameInfo.of(drives))

    encoding, answers = EncodingThread(encoder, DrawingThread(draw)), queue.Queue[Any]()
    encoding.order([request(facts, "a")], True, answers.put)
    assert entered.wait(10)
    given_up = encoding.order([request(facts, "b")], True, answers.put)
    encoding.order([request(facts, "c")], True, answers.put)
    while given_up.drawing is None:
        pass
    given_up.cancel()
    gate.set()
    for _ in range(2):
        answers.get(timeout=10)
    assert batches == [["a", "a"], ["c", "c"]]
