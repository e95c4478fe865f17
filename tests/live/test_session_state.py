"""A session that moved draws the next frames bit for bit as one that never did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from support.live import tiny_facts

from being.avatar.folder import Avatar
from being.errors import InputError
from being.graph.local import InProcessGraph
from being.graph.tick import avatar_facts
from being.inference.compositing import Colour, Picture, PictureFile, Plate, Transparent
from being.inference.frames import FrameRecord
from being.live.audio_timeline import AudioTimeline
from being.live.plain import pack, unpack
from being.live.requests import AvatarFacts, OutputFormat
from being.live.session import OUTPUT_RATIO, Limits, Session, Take
from being.live.session_state import SessionState, background_name

FRAME_S = 0.04


def smiling(facts: AvatarFacts) -> AvatarFacts:
    """With one recorded emotion."""
    recorded = np.linspace(0, 1, len(facts.motion.eye), dtype=np.float32)[:, None]
    return replace(facts, motion=replace(facts.motion, emotion=recorded))


def voice(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise with pauses: loud and silent stretches, so that silence may be left out."""
    random = np.random.default_rng(seed)
    pcm = random.standard_normal(round(16_000 * seconds)).astype(np.float32) * 0.1
    pcm[np.sin(np.arange(len(pcm)) / 900) > 0.4] = 0
    return pcm


def say(session: Session, pcm: np.ndarray, now: float) -> None:
    session.push_audio(pcm, np.repeat(pcm, OUTPUT_RATIO)[:, None], now)


def moved(session: Session, facts: AvatarFacts, now: float) -> Session:
    """Through bytes, as from one worker to another."""
    state = unpack(SessionState, pack(session.state(now)))
    return Session.restored(state, facts, session.output, now, limits=Limits())


def live(session: Session, frame: int, now: float) -> None:
    """What a client does before a frame: a stuttering microphone, an interruption, emotions, another size."""
    pieces = voice(4.0)
    if frame % 3 != 1:  # 0, 80 or 40 ms at a time
        say(session, pieces[640 * frame : 640 * (frame + 2 - frame % 3)], now)
    if frame == 7:
        session.emotion_targets.ask(np.array([0.8], np.float32))
    if frame == 31:
        session.interrupt()
    if frame == 36:
        session.end_utterance()
    if frame == 40:
        session.output = replace(session.output, width=96, background=Colour(1, 2, 3))


@pytest.mark.parametrize("move_at", [0, 8, 20, 31, 32, 33, 45])
def test_requests_after_a_move_are_the_same(tiny_avatar: Avatar, move_at: int) -> None:
    facts = smiling(tiny_facts(tiny_avatar))
    stays, moves = (Session("s", facts, OutputFormat(64, 48), seed=3) for _ in range(2))
    for frame in range(60):
        now = frame * FRAME_S
        for session in (stays, moves):
            live(session, frame, now)
        if frame == move_at:
            moves = moved(moves, facts, now)
        assert_same(stays.take(1, now), moves.take(1, now))
        assert stays.waiting_s == moves.waiting_s and stays.talking == moves.talking


def assert_same(one: Take, other: Take) -> None:
    np.testing.assert_array_equal(one.sound, other.sound)
    a, b = one.request, other.request
    for name in ("session", "avatar", "generation", "first", "output"):
        assert getattr(a, name) == getattr(b, name)
    for name in ("pcm", "head_poses", "torso_poses", "eyes", "emotion"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.fade is None) == (b.fade is None)
    if a.fade is not None and b.fade is not None:
        np.testing.assert_array_equal(a.fade.pcm, b.fade.pcm)
        np.testing.assert_array_equal(a.fade.weights, b.fade.weights)


@dataclass
class Watched:
    """Frames of one session as a graph drew them."""

    graph: InProcessGraph
    records: list[FrameRecord] = field(default_factory=list)

    def play(self, session: Session, frames: range, before: Callable[[Session, int, float], None]) -> None:
        for frame in frames:
            before(session, frame, frame * FRAME_S)
            self.records += self.graph.draw([session.take(1, frame * FRAME_S).request])


def test_pictures_after_a_move_are_the_same(graph: InProcessGraph) -> None:
    """In virtual time, on the graph in this process: half of the frames here, half in another worker."""

    facts = smiling(avatar_facts(graph.engine, graph.encoder, "tiny"))
    stays, moves = Watched(graph), Watched(graph)
    stays.play(Session("stays", facts, OutputFormat(64, 48), seed=1), range(50), live)
    session = Session("moves", facts, OutputFormat(64, 48), seed=1)
    moves.play(session, range(25), live)
    moves.play(moved(session, facts, 25 * FRAME_S), range(25, 50), live)
    assert len({record.image.tobytes() for record in stays.records}) > 40, "the pictures differ from each other"
    for one, other in zip(stays.records, moves.records, strict=True):
        assert one.index == other.index and one.generation == other.generation
        np.testing.assert_array_equal(one.image, other.image)


def test_a_session_is_left_as_it_is(tiny_avatar: Avatar) -> None:
    facts = smiling(tiny_facts(tiny_avatar))
    session = Session("s", facts, OutputFormat(64, 48))
    say(session, voice(1.0), 0.0)
    session.take(3, 0.1)
    before = pack(session.state(0.2))
    copy = moved(session, facts, 0.2)
    copy.interrupt()
    copy.emotion_targets.ask(np.array([1.0], np.float32))
    copy.take(20, 0.3)
    assert pack(session.state(0.2)) == before


def test_limits_go_on_to_count(tiny_avatar: Avatar) -> None:
    facts = smiling(tiny_facts(tiny_avatar))
    session = Session("s", facts, OutputFormat(64, 48))
    say(session, voice(100.0), 0.0)
    with pytest.raises(InputError, match="would wait"):
        say(moved(session, facts, 0.0), voice(30.0), 0.0)


def test_an_avatar_of_other_emotions_plays_as_recorded(tiny_avatar: Avatar) -> None:
    facts = smiling(tiny_facts(tiny_avatar))
    session = Session("s", facts, OutputFormat(64, 48))
    session.emotion_targets.ask(np.array([1.0], np.float32))
    session.take(20, 0.0)
    motion = replace(facts.motion, emotion=np.zeros((len(facts.motion.eye), 2), np.float32))
    taken = moved(session, replace(facts, motion=motion), 1.0).take(1, 1.0)
    np.testing.assert_array_equal(taken.request.emotion, np.zeros((1, 2)))


def test_what_a_timeline_gained_can_be_sent_alone() -> None:
    line = AudioTimeline(2, start=100)
    line.append(np.arange(20, dtype=np.float32).reshape(10, 2))
    before = line.state()
    line.append(np.ones((5, 2), np.float32))
    line.forget(104)
    now = line.state()
    assert (now.start, now.end) == (104, 115)
    whole = before.extended(now.since(before.end))
    np.testing.assert_array_equal(whole.since(now.start).pcm, now.pcm)
    with pytest.raises(ValueError, match="does not follow"):
        before.extended(now.since(before.end + 1))


def test_a_state_of_much_sound_copies_none_and_stays_as_it_was() -> None:
    line = AudioTimeline(1)
    line.append(np.zeros((48_000 * 60, 1), np.float32))
    line.forget(48_000)
    state = line.state()
    assert state.start == 48_000 and np.shares_memory(state.blocks[0], line.state().blocks[0])
    before = state.pcm
    line.append(np.ones((100, 1), np.float32))
    line.append(np.ones((100, 1), np.float32))
    line.forget(100_000)
    np.testing.assert_array_equal(state.pcm, before)
    again = AudioTimeline.restored(line.state())
    assert again.end == line.end == 48_000 * 60 + 200
    np.testing.assert_array_equal(again.read(99_000, line.end + 5), line.read(99_000, line.end + 5))


def test_an_empty_timeline_keeps_its_channels() -> None:
    line = AudioTimeline.restored(AudioTimeline(2, start=7).state())
    line.append(np.ones((3, 2), np.float32))
    assert line.state().pcm.shape == (3, 2) and line.end == 10


@pytest.mark.parametrize(
    ("background", "name"),
    [
        (Plate(), "plate"),
        (Transparent(), "none"),
        (Colour(1, 171, 255), "#01abff"),
        (PictureFile("0123456789abcdef", b"jpeg"), "picture:0123456789abcdef"),
    ],
)
def test_backgrounds_are_named_as_clients_name_them(background: Plate, name: str) -> None:
    assert background_name(background) == name


def test_pixels_of_this_process_have_no_name() -> None:
    with pytest.raises(ValueError, match="no name"):
        background_name(Picture(np.zeros((2, 2, 3), np.uint8)))
