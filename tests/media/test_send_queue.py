"""The bounded queue: what a slow client loses, and where it goes on."""

from __future__ import annotations

import pytest

from being.media.send_queue import SendQueue


def drain(queue: SendQueue) -> list[bytes]:
    pieces = []
    while (piece := queue.take()) is not None:
        pieces.append(piece)
    return pieces


def test_a_queue_skips_to_the_next_start_and_keeps_the_head() -> None:
    asked = []
    queue = SendQueue(10, lambda: asked.append(True))
    assert queue.put(b"head" * 5, starts=False, keep=True)
    assert drain(queue) == [b"head" * 5]
    assert queue.put(b"key1", starts=True) and queue.put(b"dlt1", starts=False)
    assert not queue.put(b"dlt2", starts=False)  # over the limit: all of it is stale
    assert asked == [True] and queue.size == 0 and queue.dropped == 3
    assert not queue.put(b"dlt3", starts=False)
    assert queue.put(b"key2", starts=True) and queue.put(b"dlt4", starts=False)
    assert drain(queue) == [b"key2", b"dlt4"]
    assert asked == [True]


def test_a_key_frame_itself_can_end_the_jam() -> None:
    queue = SendQueue(10, pytest.fail)
    queue.put(b"12345678", starts=True)
    assert queue.put(b"87654321", starts=True)
    assert drain(queue) == [b"87654321"]


def test_all_that_waits_can_be_taken_at_once_or_cut() -> None:
    asked = []
    queue = SendQueue(100, lambda: asked.append(True))
    assert queue.take_all() is None
    queue.put(b"ab", starts=True)
    queue.put(b"cd", starts=False)
    assert queue.take_all() == b"abcd" and queue.size == 0
    queue.cut()
    assert asked == [], "nothing waited, so nothing was lost"
    queue.put(b"ef", starts=False)
    queue.cut()
    assert asked == [True] and queue.dropped == 1 and not queue.put(b"gh", starts=False)
