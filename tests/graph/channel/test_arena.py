"""Places are leased and released; memory is taken when it is needed, released when it is not, and may be refused."""

from __future__ import annotations

import logging
import os
import resource
from collections.abc import Iterator

import pytest

from being.graph.channel.arena import IDLE_S, PAGE, SLAB_BYTES, Arena, Place, rounded

FRAME = 512 * 768  # bytes of a 512x512 frame in 4:2:0


def leased(arena: Arena, size: int) -> Place:
    place = arena.lease(size)
    assert place is not None
    return place


def announced(arena: Arena) -> tuple[list[int], list[int]]:
    """Numbers of the slabs that are new and that are dropped."""
    new, files, dropped = arena.changes()
    for file in files:
        os.close(file)
    return [slab.number for slab in new], dropped


def test_places_do_not_overlap_and_are_used_again() -> None:
    arena = Arena()
    places = [leased(arena, FRAME) for _ in range(3)]
    for number, place in enumerate(places):
        place.memory[:] = number
    assert [int(place.memory.min()) for place in places] == [int(place.memory.max()) for place in places] == [0, 1, 2]
    assert arena.leased == 3 and arena.bytes <= SLAB_BYTES
    arena.release(places[1].slab, places[1].index)
    assert leased(arena, FRAME).index == places[1].index, "the one whose bytes are in the caches"


def test_sizes_of_a_place_are_few_and_not_much_too_large() -> None:
    sizes = [rounded(size) for size in range(1, 4 << 20, 997)]
    assert len(set(sizes)) < 60
    assert all(place % PAGE == 0 for place in sizes)
    for size in (FRAME, 1280 * 1080, 100_000, 4097):
        assert size <= rounded(size) <= max(1.25 * size, 2 * PAGE)
    assert rounded(FRAME) == FRAME


def test_memory_grows_with_the_leases_and_goes_when_nobody_needs_it() -> None:
    now = 0.0
    arena = Arena(now=lambda: now)
    fitting = SLAB_BYTES // FRAME
    places = [leased(arena, FRAME) for _ in range(fitting + 1)]
    other = leased(arena, 2 * FRAME)
    assert announced(arena) == ([0, 1, 2], [])
    for place in [*places[1:], other]:
        arena.release(place.slab, place.index)
    now = IDLE_S + 1
    assert announced(arena) == ([], [1, 2]), "of slab 0 a place is leased"
    assert arena.leased == 1
    arena.release(places[0].slab, places[0].index)
    assert announced(arena) == ([], []), "it may be needed in a moment"
    now *= 2.1
    assert announced(arena) == ([], [0]) and arena.bytes == 0
    assert leased(arena, FRAME).slab == 3


def test_a_bound_is_kept_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    arena = Arena(most_bytes=SLAB_BYTES)
    assert sum(arena.lease(FRAME) is not None for _ in range(100)) == SLAB_BYTES // FRAME
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "8 MB are in use" in caplog.text


@pytest.fixture
def no_large_files() -> Iterator[None]:
    """The system refuses memory as it does where a container has no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("no_large_files")
def test_no_memory_is_no_place_and_leaves_nothing_open(caplog: pytest.LogCaptureFixture) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    arena = Arena()
    assert arena.lease(FRAME) is None and arena.lease(FRAME) is None
    assert arena.bytes == 0 and announced(arena) == ([], [])
    assert caplog.text.count("no shared memory for more frames (File too large)") == 1
    assert (len(os.listdir("/proc/self/fd")) if before else 0) == before


def test_what_a_dead_reader_held_is_taken_back() -> None:
    arena = Arena()
    for _ in range(30):
        leased(arena, FRAME)
    arena.close()
    assert arena.leased == arena.bytes == 0
