"""The reader sees what was written, and releases a place with the last array that looks into it."""

from __future__ import annotations

import numpy as np
import pytest

from being.graph.channel.arena import Arena
from being.graph.channel.mapped import MappedArena


@pytest.fixture
def pair() -> tuple[Arena, MappedArena]:
    return Arena(), MappedArena()


def written(arena: Arena, mapped: MappedArena, value: int) -> np.ndarray:
    """A place of 6,000 bytes, as the reader sees it."""
    place = arena.lease(6000)
    assert place is not None
    place.memory[:] = value
    new, files, _ = arena.changes()
    for slab, file in zip(new, files, strict=True):
        mapped.add(slab, file)
    return mapped.place((place.slab, place.index))


def test_a_place_lives_as_long_as_any_view_of_it(pair: tuple[Arena, MappedArena]) -> None:
    arena, mapped = pair
    memory = written(arena, mapped, 7)
    picture = memory[:6000].reshape(60, 100)
    depth = memory[1024:2048].view(np.float32)
    row = picture[3]
    del memory, picture
    assert mapped.take_released() == []
    assert row.tolist() == [7] * 100
    del row
    assert mapped.take_released() == [] and len(depth) == 256
    del depth
    assert mapped.take_released() == [(0, (8 << 20) // 8192 - 1)]


def test_pictures_are_not_copied_and_cannot_be_written(pair: tuple[Arena, MappedArena]) -> None:
    arena, mapped = pair
    memory = written(arena, mapped, 1)
    place = arena._slabs[0].memory[-1]
    place[0] = 200
    assert memory[0] == 200
    with pytest.raises(ValueError, match="read-only"):
        memory[0] = 1


def test_a_released_place_is_used_again(pair: tuple[Arena, MappedArena]) -> None:
    arena, mapped = pair
    for value in range(2000):  # more than a slab holds
        memory = written(arena, mapped, value % 256)
        assert memory[5999] == value % 256
        del memory
        for place in mapped.take_released():
            arena.release(*place)
    assert arena.leased == 0 and arena.bytes <= 8 << 20


def test_a_dropped_slab_is_unmapped_but_what_is_held_stays(pair: tuple[Arena, MappedArena]) -> None:
    arena, mapped = pair
    memory = written(arena, mapped, 9)
    mapped.drop(0)
    arena.close()
    assert memory.max() == 9
