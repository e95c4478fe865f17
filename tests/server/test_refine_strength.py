"""Which strength a client gets, and that it reaches the frames."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.live import tiny_client, tiny_facts

from being.avatar.folder import Avatar
from being.server.problems import Problem
from being.server.refine_strength import strength_for
from being.server.schemas import Configure


def test_without_a_word_it_is_the_servers_where_there_is_a_refiner(tiny_avatar: Avatar) -> None:
    plain = tiny_facts(tiny_avatar)
    able = replace(plain, refine=0.7)
    assert strength_for(plain, None) == 0 and strength_for(able, None) == 0.7
    assert strength_for(able, 0.0) == 0 and strength_for(able, 0.3) == 0.3 and strength_for(plain, 0.0) == 0
    with pytest.raises(Problem, match="cannot be refined"):
        strength_for(plain, 0.3)


def test_configure_changes_it_and_refuses_what_there_is_not(tiny_avatar: Avatar) -> None:
    client = tiny_client(tiny_avatar)
    with pytest.raises(Problem, match="cannot be refined"):
        client.configure(Configure(type="configure", refine=0.6))
    client.session.avatar = replace(client.session.avatar, refine=1.0)
    client.configure(Configure(type="configure", refine=0.6))
    assert client.session.take(1, 0.0).request.output.refine == 0.6
    client.configure(Configure(type="configure", background="#203040"))
    assert client.session.output.refine == 0.6
    assert client.session.state(0.0).refine == 0.6
