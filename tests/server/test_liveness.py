"""Whether a client still answers, on plain numbers."""

from __future__ import annotations

import pytest

from being.server.liveness import Gone, Liveness


def test_a_silent_client_is_gone() -> None:
    liveness = Liveness(gone_s=10.0, window_bytes=100)
    liveness.connect(5.0)
    liveness.check(15.0)
    with pytest.raises(Gone, match="10 s"):
        liveness.check(15.1)
    liveness.touch(15.1)
    liveness.check(25.0)


def test_the_window_opens_with_what_is_acknowledged() -> None:
    liveness = Liveness(gone_s=10.0, window_bytes=100)
    liveness.connect(0.0)
    liveness.sent(60)
    assert liveness.may_send
    liveness.sent(60)
    assert not liveness.may_send
    liveness.touch(9.0)
    with pytest.raises(Gone, match="acknowledged nothing"):
        liveness.check(10.5)
    liveness.acknowledged(1000, 10.5)  # more than was sent is not believed
    assert liveness.may_send
    liveness.check(20.0)
    liveness.sent(99)
    assert liveness.may_send, "the window counts from what was sent, not from what was claimed"
    liveness.restart()
    liveness.sent(99)
    assert liveness.may_send


def test_a_later_connection_supersedes() -> None:
    liveness = Liveness(10.0, 100)
    first = liveness.connect(0.0)
    assert not liveness.superseded(first)
    second = liveness.connect(1.0)
    assert liveness.superseded(first) and not liveness.superseded(second)
