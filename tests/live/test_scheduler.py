"""The frame clock on plain numbers: no graph, no sleeping."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from being.avatar.folder import Avatar
from being.inference.frames import FrameRecord
from being.live.requests import AudioContextRange, AvatarFacts, OutputFormat
from being.live.scheduler import Delivery, Pacing, Picture, Repeat, Scheduler, Sound, Tick
from being.live.session import Limits, Session

FRAME_S = 0.04


def make_session(avatar: Avatar, name: str = "a") -> Session:
    facts = AvatarFacts("tiny", 64, 48, AudioContextRange(8960, 1280), avatar.motion)
    return Session(name, facts, OutputFormat(64, 48), limits=Limits(onset_s=0))


def answer(tick: Tick, bad: int | None = None) -> list[FrameRecord]:
    """What a graph would draw: black pictures; frame `bad` carries an error."""
    image = np.zeros((48, 64, 3), np.uint8)
    records = []
    for request in tick.requests:
        for index in range(request.first, request.first + request.count):
            broken = index == bad
            picture, error = (None, "no such avatar") if broken else (image, None)
            pose = request.head_poses[0]
            records.append(FrameRecord(index, request.generation, picture, None, None, None, pose, error))
    return records


def shown(deliveries: list[Delivery], session: str = "a") -> list[tuple[str, int]]:
    return [(type(d).__name__, d.index) for d in deliveries if not isinstance(d, Sound) and d.session == session]


def test_on_time_a_tick_is_one_frame_of_every_session(tiny_avatar: Avatar) -> None:
    scheduler = Scheduler(now=10.0)
    scheduler.join(make_session(tiny_avatar, "a"))
    scheduler.join(make_session(tiny_avatar, "b"))
    for n in range(50):
        now = 10.0 + n * FRAME_S
        assert scheduler.next_due(now) == pytest.approx(now)
        tick, at_once = scheduler.start(now)
        assert tick is not None
        assert [(request.session, request.first, request.count) for request in tick.requests] == [
            ("a", n, 1),
            ("b", n, 1),
        ]
        assert [type(d) for d in at_once] == [Sound, Sound]
        assert scheduler.start(now + 0.001)[0] is None  # once a frame
        deliveries = scheduler.finish(tick.number, answer(tick), now + 0.03)
        assert shown(deliveries, "a") == shown(deliveries, "b") == [("Picture", n)]
    assert scheduler.tally.late_ticks == 0 and scheduler.tally.repeats == 0
    np.testing.assert_allclose(scheduler.tally.latency_s, 0.03)


def test_ticks_overlap_and_are_delivered_in_order(tiny_avatar: Avatar) -> None:
    scheduler = Scheduler(now=0.0, pacing=Pacing(in_flight=3))
    scheduler.join(make_session(tiny_avatar))
    ticks = [scheduler.start(n * FRAME_S)[0] for n in range(3)]
    assert all(tick is not None for tick in ticks)
    assert scheduler.start(3 * FRAME_S)[0] is None  # three are under way
    assert scheduler.finish(ticks[1].number, answer(ticks[1]), 0.13) == []
    assert shown(scheduler.finish(ticks[0].number, answer(ticks[0]), 0.14)) == [("Picture", 0), ("Picture", 1)]
    assert shown(scheduler.finish(ticks[2].number, answer(ticks[2]), 0.15)) == [("Picture", 2)]


def test_late_passes_make_longer_ticks_then_repeats_and_the_sound_stays_whole(tiny_avatar: Avatar) -> None:
    scheduler = Scheduler(now=0.0, pacing=Pacing(in_flight=1, longest_tick=4, patience_s=10.0))
    session = make_session(tiny_avatar)
    rng = np.random.default_rng(0)
    model_pcm = rng.uniform(-1, 1, 640 * 20).astype(np.float32)
    playback_pcm = np.repeat(model_pcm, 3)[:, None]
    session.push_audio(model_pcm, playback_pcm, 0.0)
    scheduler.join(session)
    heard, pictures = [], []

    def note(deliveries: list[Delivery]) -> None:
        heard.extend(d.pcm for d in deliveries if isinstance(d, Sound))
        pictures.extend(shown(deliveries))

    counts = []
    now = 0.0
    for pass_s in (0.03, 0.1, 0.24, 0.03, 0.03):
        tick, at_once = scheduler.start(now)
        assert tick is not None
        note(at_once)
        counts.append(tick.requests[0].count)
        now += pass_s
        note(scheduler.finish(tick.number, answer(tick), now))
        now = max(now, scheduler.next_due(now))
    assert counts == [1, 1, 2, 4, 1]
    assert pictures == [("Picture", i) for i in range(4)] + [("Repeat", i) for i in (4, 5)] + [
        ("Picture", i) for i in range(6, 11)
    ]
    np.testing.assert_array_equal(np.concatenate(heard), playback_pcm[: 11 * 1920])


def test_a_lost_pass_is_given_up_and_its_answer_ignored(tiny_avatar: Avatar) -> None:
    scheduler = Scheduler(now=0.0, pacing=Pacing(in_flight=2, patience_s=0.2))
    scheduler.join(make_session(tiny_avatar))
    lost, _ = scheduler.start(0.0)
    good, _ = scheduler.start(0.04)
    assert scheduler.finish(good.number, answer(good), 0.06) == []
    assert scheduler.next_due(0.08) == pytest.approx(0.2)
    tick, deliveries = scheduler.start(0.2)
    assert shown(deliveries) == [("Repeat", 0), ("Picture", 1), ("Repeat", 2), ("Repeat", 3)]
    assert tick is not None and (tick.requests[0].first, tick.requests[0].count) == (4, 2), (
        "the newest, and fewer at once"
    )
    assert scheduler.finish(lost.number, answer(lost), 0.25) == []


def run(
    scheduler: Scheduler, seconds: float, frame_s: float, until_s: float = np.inf
) -> tuple[list[Delivery], list[float]]:
    """A graph that takes `frame_s` for each frame, one tick after the other, drops what is not wanted any more, and
    dies at `until_s`. Returns what there was to show and hear, and how late each frame's sound was."""
    seen: list[Delivery] = []
    waits: list[float] = []
    queue: list[tuple[float, Tick]] = []  # wanted until, tick
    drawing: tuple[float, Tick] | None = None  # ready at, tick
    now = 0.0
    while now < seconds:
        tick, at_once = scheduler.start(now)
        seen += at_once
        waits += [now - d.index * FRAME_S for d in at_once if isinstance(d, Sound)]
        if tick is not None:
            queue.append((now + scheduler.patience_s, tick))
        queue = [one for one in queue if one[0] > now]
        if drawing is None and queue and now < until_s:
            _, begun = queue.pop(0)
            drawing = now + frame_s * begun.requests[0].count, begun
        now = max(now + 1e-4, min([scheduler.next_due(now), *([drawing[0]] if drawing else [])]))
        if drawing is not None and drawing[0] <= now:
            if now < until_s:
                seen += scheduler.finish(drawing[1].number, answer(drawing[1]), now)
            drawing = None
    return seen, waits


@pytest.mark.parametrize("frame_s", [0.03, 0.06, 0.15, 0.6])
def test_a_slow_renderer_draws_as_many_as_it_can(tiny_avatar: Avatar, frame_s: float) -> None:
    scheduler = Scheduler(now=0.0)
    scheduler.join(make_session(tiny_avatar))
    seen, waits = run(scheduler, 20.0, frame_s)
    most = 20.0 * min(25, 1 / frame_s)  # it is never idle, and all that it draws is shown, but for the last ticks
    assert most - 2 <= sum(isinstance(d, Picture) for d in seen) <= most
    assert max(waits) <= scheduler_sound_bound(), "sound does not wait for pictures"
    numbers = [index for _, index in shown(seen)]
    assert numbers == list(range(len(numbers))), "each frame is shown once, in order"


def scheduler_sound_bound() -> float:
    return Pacing().longest_tick * FRAME_S + 0.001


def test_sound_goes_on_when_the_renderer_is_gone(tiny_avatar: Avatar) -> None:
    scheduler = Scheduler(now=0.0)
    scheduler.join(make_session(tiny_avatar))
    seen, waits = run(scheduler, 10.0, 0.02, until_s=2.0)
    assert max(waits) <= scheduler_sound_bound()
    sound = [d.index for d in seen if isinstance(d, Sound)]
    assert sound[0] == 0 and sum(len(d.pcm) for d in seen if isinstance(d, Sound)) >= 9.8 * 48000


def test_latency_is_the_drawing_itself_where_the_renderer_keeps_up(tiny_avatar: Avatar) -> None:
    scheduler = Scheduler(now=0.0)
    scheduler.join(make_session(tiny_avatar))
    run(scheduler, 10.0, 0.035)
    assert max(scheduler.tally.latency_s) < 0.036


def test_a_failed_row_repeats_alone(tiny_avatar: Avatar) -> None:
    scheduler = Scheduler(now=0.0)
    scheduler.join(make_session(tiny_avatar, "a"))
    tick, _ = scheduler.start(0.0)
    deliveries = scheduler.finish(tick.number, answer(tick, bad=0), 0.01)
    assert isinstance(deliveries[0], Repeat) and deliveries[0].reason == "no such avatar"
    tick, _ = scheduler.start(0.04)
    assert isinstance(scheduler.finish(tick.number, "replica died", 0.05)[0], Repeat)
    tick, _ = scheduler.start(0.08)
    assert isinstance(scheduler.finish(tick.number, [], 0.09)[0], Repeat)
    tick, _ = scheduler.start(0.12)
    assert isinstance(scheduler.finish(tick.number, answer(tick), 0.13)[0], Picture)


def test_interruption_drops_what_is_under_way(tiny_avatar: Avatar) -> None:
    scheduler = Scheduler(now=0.0)
    session = make_session(tiny_avatar)
    scheduler.join(session)
    old, _ = scheduler.start(0.0)
    assert session.interrupt() == 1
    new, _ = scheduler.start(0.04)
    deliveries = scheduler.finish(new.number, answer(new), 0.05)
    deliveries += scheduler.finish(old.number, answer(old), 0.06)
    assert shown(deliveries) == [("Repeat", 0), ("Picture", 1)]


def test_an_interrupted_session_waits_for_nothing_old(tiny_avatar: Avatar) -> None:
    scheduler = Scheduler(now=0.0)
    session = make_session(tiny_avatar)
    scheduler.join(session)
    old, _ = scheduler.start(0.0)
    session.interrupt()
    dropped, deliveries = scheduler.interrupted(0.01)
    assert dropped == [old.number] and shown(deliveries) == [("Repeat", 0)]
    new, _ = scheduler.start(0.04)
    assert shown(scheduler.finish(new.number, answer(new), 0.06)) == [("Picture", 1)]
    assert scheduler.finish(old.number, answer(old), 0.07) == []


def test_an_interruption_leaves_the_others_alone(tiny_avatar: Avatar) -> None:
    scheduler = Scheduler(now=0.0)
    loud, calm = make_session(tiny_avatar, "loud"), make_session(tiny_avatar, "calm")
    scheduler.join(loud)
    scheduler.join(calm)
    tick, _ = scheduler.start(0.0)
    loud.interrupt()
    assert scheduler.interrupted(0.01) == ([], [])
    deliveries = scheduler.finish(tick.number, answer(tick), 0.03)
    assert shown(deliveries, "loud") == [("Repeat", 0)] and shown(deliveries, "calm") == [("Picture", 0)]


def test_sessions_come_and_go(tiny_avatar: Avatar) -> None:
    scheduler = Scheduler(now=0.0)
    tick, deliveries = scheduler.start(0.0)
    assert tick is None and deliveries == []  # nobody there: no call
    first = make_session(tiny_avatar)
    scheduler.join(first)
    with pytest.raises(ValueError, match="on the clock"):
        scheduler.join(first)
    tick, _ = scheduler.start(1.0)  # the clock ran on alone
    assert tick is not None
    scheduler.leave("a")
    assert scheduler.finish(tick.number, answer(tick), 1.02) == []
    assert scheduler.sessions == []


def test_the_refiner_fades_before_frames_repeat_and_comes_back(tiny_avatar: Avatar) -> None:
    scheduler = Scheduler(now=0.0)
    refined, raw = make_session(tiny_avatar, "refined"), make_session(tiny_avatar, "raw")
    refined.output = replace(refined.output, refine=0.8)
    scheduler.join(refined)
    scheduler.join(raw)
    strengths, now = [], 0.0
    for n in range(200):
        tick, _ = scheduler.start(now)
        assert tick is not None
        strengths.append(tick.requests[0].output.refine)
        assert tick.requests[1].output.refine == 0
        late = n < 6
        now += 2 * FRAME_S if late else FRAME_S
        scheduler.finish(tick.number, answer(tick), now - 0.001)
    assert strengths[0] == 0.8 and strengths[6] == 0 and strengths[-1] == 0.8
    assert strengths[:6] == sorted(strengths[:6], reverse=True)
    assert refined.output.refine == 0.8  # what the client asked for stays
    assert scheduler.tally.repeats == 0
