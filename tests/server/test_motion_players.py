"""Motion players are made once, again when the avatar has changed, and not kept for ever."""

from __future__ import annotations

from dataclasses import replace

from support.live import tiny_facts

from being.avatar.folder import Avatar
from being.server.motion_players import MotionPlayers


def test_sessions_of_an_avatar_share_a_player(tiny_avatar: Avatar) -> None:
    players, facts = MotionPlayers(seeds=1), tiny_facts(tiny_avatar)
    again = replace(facts, motion=replace(facts.motion, eye=facts.motion.eye.copy()))
    assert players.of(facts, 0) is players.of(again, 0), "the same motion, loaded anew"


def test_an_avatar_that_changed_gets_another(tiny_avatar: Avatar) -> None:
    players, facts = MotionPlayers(seeds=1), tiny_facts(tiny_avatar)
    changed = replace(facts, motion=replace(facts.motion, eye=1 - facts.motion.eye))
    first = players.of(facts, 0)
    assert players.of(changed, 0) is not first
    assert players.of(changed, 0) is players.of(changed, 0)


def test_the_oldest_are_forgotten(tiny_avatar: Avatar) -> None:
    players, facts = MotionPlayers(kept=2, seeds=1), tiny_facts(tiny_avatar)
    named = [replace(facts, id=name) for name in "abc"]
    first, *others = [players.of(one, 0) for one in named]
    assert [players.of(one, 0) for one in named[1:]] == others
    assert players.of(named[0], 0) is not first


def test_an_avatar_moves_in_several_ways(tiny_avatar: Avatar) -> None:
    players, facts = MotionPlayers(seeds=4), tiny_facts(tiny_avatar)
    found = {id(players.of(facts, players.lot())) for _ in range(200)}
    assert len(found) == 4
