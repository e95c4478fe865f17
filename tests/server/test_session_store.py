"""The directory of all workers' sessions: plain values, time passed in."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from support.live import tiny_client

from being.avatar.folder import Avatar
from being.live.audio_timeline import TimelineState
from being.live.session import OUTPUT_RATIO
from being.server.admission import Load
from being.server.client_session import ClientSession
from being.server.client_state import Deposit, Mark
from being.server.room_plan import SETTLING_S
from being.server.session_store import (
    GIVE_WAY_S,
    RESERVED_S,
    WORKER_LOST_S,
    ReportAnswer,
    SessionStore,
    WorkerReport,
)

LOAD = Load("tiny", 64, 48)
GONE_S = 10.0


def report(worker: str, *deposits: Deposit, left: bool = False, **content: object) -> WorkerReport:
    names = tuple(deposit.id for deposit in deposits)
    whole = WorkerReport(worker, names, deposits, names if left else (), (), {})
    return replace(whole, **content)


def say(client: ClientSession, seconds: float) -> None:
    pcm = np.random.default_rng(0).standard_normal(round(16_000 * seconds)).astype(np.float32)
    client.session.push_audio(pcm, np.repeat(pcm, OUTPUT_RATIO)[:, None], 0.0)
    client.session.take(1, 1.0)


def deposit(client: ClientSession, known: Mark | None = None) -> Deposit:
    state = client.state()
    assert state is not None
    return Deposit.of(state, client.info().model_dump(mode="json"), known)


def mark(client: ClientSession) -> Mark:
    state = client.state()
    assert state is not None
    return Mark.of(state)


@pytest.fixture
def store() -> SessionStore:
    return SessionStore(GONE_S, budget=0.8)


@pytest.fixture
def client(tiny_avatar: Avatar) -> ClientSession:
    return tiny_client(tiny_avatar, "a")


def test_only_new_sound_is_sent_and_all_of_it_withdrawn(store: SessionStore, client: ClientSession) -> None:
    say(client, 2.0)
    assert store.report(report("one", deposit(client)), 0.0) == ReportAnswer(store.name)
    known = mark(client)
    say(client, 0.5)
    later = deposit(client, known)
    assert len(later.model.pcm) == 8000 and not later.whole
    assert store.report(report("one", later), 0.5) == ReportAnswer(store.name)
    found = store.withdraw("two", "a", client.token, "tiny", 0.6)
    assert found is not None
    state, wanted = found.state(), client.state()
    assert wanted is not None and state.session.next_frame == wanted.session.next_frame == 2
    np.testing.assert_array_equal(state.session.model_timeline.pcm, wanted.session.model_timeline.pcm)
    np.testing.assert_array_equal(state.session.playback_timeline.pcm, wanted.session.playback_timeline.pcm)


def test_sound_that_waits_is_neither_sent_nor_copied_again(client: ClientSession) -> None:
    """Two minutes of sound made beforehand: a deposit that brings nothing new is a few hundred bytes."""
    say(client, 110.0)
    first = pickle.loads(pickle.dumps(deposit(client))).after(None)
    later = deposit(client, mark(client))
    assert len(pickle.dumps(later)) < 4096 < 1_000_000 < len(pickle.dumps(first))
    whole = later.after(first)
    assert whole is not None and whole.playback.end == first.playback.end
    assert all(
        np.shares_memory(one, other) for one, other in zip(whole.playback.blocks, first.playback.blocks, strict=True)
    )


def test_sound_of_an_interruption_replaces_what_was_deposited(store: SessionStore, client: ClientSession) -> None:
    say(client, 2.0)
    store.report(report("one", deposit(client)), 0.0)
    known = mark(client)
    client.interrupt()
    assert store.report(report("one", deposit(client, known)), 0.5).unknown == ()
    found = store.withdraw("two", "a", client.token, "tiny", 0.6)
    assert found is not None and found.state().session.generation == 1
    assert len(found.model.pcm) < 2000


def test_what_does_not_follow_is_asked_for(store: SessionStore, client: ClientSession) -> None:
    say(client, 1.0)
    known = mark(client)
    say(client, 1.0)
    assert store.report(report("one", deposit(client, known)), 0.0).unknown == ("a",), "the store is new"
    assert store.withdraw("two", "a", client.token, "tiny", 0.1) is None
    assert store.report(report("one", deposit(client)), 0.5).unknown == ()


def test_a_stranger_gets_nothing(store: SessionStore, client: ClientSession) -> None:
    store.report(report("one", deposit(client)), 0.0)
    assert store.withdraw("two", "a", "wrong", "tiny", 0.1) is None
    assert store.withdraw("two", "a", client.token, "other", 0.1) is None, "it plays another avatar"
    assert store.withdraw("two", "b", client.token, "tiny", 0.1) is None
    assert store.report(report("one", deposit(client)), 0.2).lost == ()


def test_who_lost_a_session_is_told(store: SessionStore, client: ClientSession) -> None:
    store.report(report("one", deposit(client)), 0.0)
    assert store.withdraw("two", "a", client.token, "tiny", 0.1) is not None
    assert store.report(report("one", deposit(client)), 0.4).lost == ("a",)
    assert store.report(report("one", deposit(client), left=True), 0.4).lost == ("a",), "and its parting says nothing"
    assert store.report(report("one", over=("a",)), 0.4).lost == ()
    assert store.report(report("two", deposit(client)), 0.5).lost == ()
    assert [info["state"] for info in store.listing(0.5)] == ["live"]


def test_the_sessions_of_a_dead_worker_wait(store: SessionStore, client: ClientSession) -> None:
    store.report(report("one", deposit(client)), 0.0)
    assert store.withdraw("two", "a", client.token, "tiny", 0.1) is not None, "before anybody knows of its death"
    late = WORKER_LOST_S + 0.2
    assert [info["state"] for info in store.listing(late)] == ["waiting"]
    assert store.withdraw("three", "a", client.token, "tiny", late + GONE_S - 0.1) is not None
    store.report(report("three", deposit(client), left=True), late)
    assert store.listing(late + GONE_S + 0.1) == []


def test_a_worker_that_was_silent_has_its_sessions_again(store: SessionStore, client: ClientSession) -> None:
    store.report(report("one", deposit(client)), 0.0)
    assert [info["state"] for info in store.listing(5.0)] == ["waiting"]
    assert store.report(report("one", deposit(client)), 6.0) == ReportAnswer(store.name)
    assert [info["state"] for info in store.listing(6.0)] == ["live"]


def test_what_is_told_no_more_waits_and_expires(store: SessionStore, client: ClientSession) -> None:
    store.report(report("one", deposit(client)), 0.0)
    store.report(report("one"), 1.0)
    assert [info["state"] for info in store.listing(1.0)] == ["live"], "it may be on its way in"
    store.report(report("one"), WORKER_LOST_S + 0.1)
    assert [info["state"] for info in store.listing(WORKER_LOST_S + 0.1)] == ["waiting"]
    assert store.listing(WORKER_LOST_S + GONE_S + 0.2) == []


def test_a_goodbye_is_for_good(store: SessionStore, client: ClientSession) -> None:
    store.report(report("one", deposit(client)), 0.0)
    store.report(report("one", over=("a",)), 0.1)
    assert store.listing(0.1) == [] and store.withdraw("one", "a", client.token, "tiny", 0.1) is None


def measured(seconds: float, *held: str) -> WorkerReport:
    return replace(report("one", *map(deposit_of, held)), costs={LOAD: seconds})


def deposit_of(name: str) -> Deposit:
    nothing = TimelineState(0, 0, ())
    return Deposit(name, "token", LOAD, True, b"", nothing, nothing, 0, 0, {})


def test_a_burst_is_let_in_as_far_as_was_measured(store: SessionStore) -> None:
    """Of 32 ms that may be planned 4 each: eight sessions, but not before they were measured."""
    store.report(measured(0.004), 0.0)
    names = [f"s{number}" for number in range(64)]
    answers = [store.reserve("one", name, LOAD, 0.001 * at) for at, name in enumerate(names)]
    first = [name for name, answer in zip(names, answers, strict=True) if answer is None]
    assert 1 < len(first) < 8
    assert all(answer.settling and answer.cost_s == pytest.approx(0.004) for answer in answers if answer is not None)
    inside, now = first, 0.0
    for _ in range(3):
        for _ in range(5):
            now += SETTLING_S / 3
            store.report(measured(0.004, *inside), now)
        inside = inside + [name for name in names if store.reserve("one", name, LOAD, now) is None]
    assert len(inside) == 8


def test_sixty_four_before_anything_was_measured(store: SessionStore) -> None:
    answers = [store.reserve("one", f"s{number}", LOAD, 0.0) for number in range(64)]
    assert answers[0] is None and all(answer is not None and answer.settling for answer in answers[1:])
    store.report(measured(0.014, "s0"), 0.5)
    assert store.reserve("one", "s1", LOAD, 0.6) is None
    assert store.reserve("one", "s2", LOAD, 0.6) is not None


def test_a_worker_without_sessions_says_nothing_of_costs(store: SessionStore) -> None:
    """Its last measurement may be of a bad moment: others would be refused for as long as it is not let draw again."""
    store.report(replace(measured(0.100), worker="idle"), 0.0)
    store.report(measured(0.004, "a"), 1.0)
    assert store.reserve("one", "b", LOAD, 1.1) is not None, "the mean of both"
    for now in (2.0, 4.0):
        store.report(report("idle"), now)
        store.report(measured(0.004, "a"), now)
    assert store.reserve("one", "b", LOAD, 4.1) is None
    assert store.room(LOAD, 4.2).in_all > 1


def test_an_id_is_given_once(store: SessionStore) -> None:
    assert store.reserve("one", "a", LOAD, 0.0) is None
    taken = store.reserve("two", "a", LOAD, 0.0)
    assert taken is not None and taken.taken


def test_a_place_that_is_not_used_is_given_back(store: SessionStore, client: ClientSession) -> None:
    store.report(measured(0.020), 0.0)
    assert store.reserve("one", "a", LOAD, 0.0) is None
    assert store.reserve("one", "b", LOAD, 0.0) is not None
    store.report(report("one", over=("a",), costs={LOAD: 0.020}), 0.1)
    assert store.reserve("one", "b", LOAD, 0.2) is None
    for second in range(1, int(RESERVED_S) + 2):  # nobody ever tells of it
        store.report(measured(0.020), float(second))
    assert store.reserve("one", "c", LOAD, RESERVED_S + 2) is None


def test_lost_clients_give_way_but_not_while_they_move(store: SessionStore, client: ClientSession) -> None:
    store.report(report("one", deposit(client), left=True, costs={LOAD: 0.020}), 0.0)
    soon = store.reserve("one", "b", LOAD, GIVE_WAY_S - 0.1)
    assert soon is not None and soon.settling
    store.report(measured(0.020), GIVE_WAY_S)
    assert store.reserve("one", "b", LOAD, GIVE_WAY_S + 0.1) is None
    assert store.listing(GIVE_WAY_S + 0.1) == []


def test_metrics_of_workers_that_live(store: SessionStore) -> None:
    store.report(report("one", metrics=b"m1"), 0.0)
    store.report(report("two", metrics=b"m2"), WORKER_LOST_S)
    store.report(report("two"), WORKER_LOST_S + 0.1)
    assert store.metrics(WORKER_LOST_S + 0.1) == {"two": b"m2"}
