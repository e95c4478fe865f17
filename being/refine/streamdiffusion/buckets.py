"""How rows become batches of the sizes that are prepared for."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

FILLED_UP = 0.25  # of a batch may be nobody's: three rows run as four, five as four and one


def batches_of(count: int, sizes: Sequence[int]) -> list[int]:
    """Ascending sizes of batches that `count` rows are cut into, largest first; the last one may be filled up."""
    out = []
    while count > 0:
        fitting = next((size for size in sizes if count <= size and size - count <= FILLED_UP * size), None)
        if fitting is None:
            fitting = max((size for size in sizes if size <= count), default=sizes[0])
        out.append(fitting)
        count -= fitting
    return out


def groups_of(keys: Sequence[Key]) -> list[tuple[Key, list[int]]]:
    """Rows of the same key together, in the order in which keys first come."""
    groups: dict[Key, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    return list(groups.items())
