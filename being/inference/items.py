"""RenderItems to draw: each a frame of an avatar, and which of them go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from being.inference.frames import Drive
from being.inference.renderable import RenderableAvatar

RenderItem = tuple[RenderableAvatar, Drive]


def by_size(rows: Sequence[RenderItem]) -> list[list[int]]:
    """RenderItem numbers grouped by picture size, rows of one avatar next to each other."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, (performer, drive) in enumerate(rows):
        groups.setdefault(performer.frame_size(drive), []).append(index)
    return [sorted(group, key=lambda index: id(rows[index][0])) for group in groups.values()]


def by_avatar(rows: Sequence[RenderItem]) -> Iterator[tuple[RenderableAvatar, list[Drive]]]:
    """RenderItems of one avatar that stand next to each other, together."""
    for performer, run in groupby(rows, key=lambda row: row[0]):
        yield performer, [drive for _, drive in run]
