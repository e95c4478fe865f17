"""Items to render: each a frame of an avatar, and which of them are drawn together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from being.inference.frames import Drive, Extras
from being.inference.renderable import RenderableAvatar

RenderItem = tuple[RenderableAvatar, Drive]


def alike(items: Sequence[RenderItem], staged: Sequence[bool]) -> list[list[int]]:
    """Numbers of the items that can be drawn together, those of one avatar next to each other.

    staged : which of them pass frame stages. The backend makes the final bytes of the others, so that these are drawn
        apart by pixel format too.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index, (renderable, drive) in enumerate(items):
        pixel_format = None if staged[index] else drive.pixel_format
        key = (*renderable.frame_size(drive), Extras.DEPTH in drive.extras, pixel_format)
        groups.setdefault(key, []).append(index)
    return [sorted(group, key=lambda index: id(items[index][0])) for group in groups.values()]


def by_avatar(items: Sequence[RenderItem]) -> Iterator[tuple[RenderableAvatar, list[Drive]]]:
    """Items of one avatar that stand next to each other, together."""
    for renderable, run in groupby(items, key=lambda item: item[0]):
        yield renderable, [drive for _, drive in run]


def unique_backdrops(
    items: Sequence[RenderItem], width: int, height: int
) -> tuple[list[npt.NDArray[np.uint8]], npt.NDArray[np.int32]]:
    """The different backdrops (height, width, 3) of the items, and which stands behind each, (B,) int32."""
    behind = [renderable.backdrop(drive.background, width, height) for renderable, drive in items]
    places: dict[int, int] = {}
    which = np.array([places.setdefault(id(pixels), len(places)) for pixels in behind], np.int32)
    kinds = {id(pixels): pixels for pixels in behind}
    return [kinds[key] for key in places], which
