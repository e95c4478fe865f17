"""A tick's pictures into shared memory on one side, and out of it as frame records on the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from being.graph.channel.arena import Arena, Place
from being.graph.channel.mapped import MappedArena
from being.graph.channel.messages import DTYPES, PlacedPictures
from being.inference.frames import FrameRecord
from being.inference.rendered import Pictures
from being.live.requests import FrameRequest

ALIGNED = 64  # bytes that each array of a place begins at a multiple of


def lay_down(pictures: Iterable[Pictures], arena: Arena) -> tuple[list[PlacedPictures], list[Pictures]]:
    """Write pictures into places of the arena; those for which it has none are handed back as they are."""
    placed: list[PlacedPictures] = []
    by_value: list[Pictures] = []
    for part in pictures:
        arrays = (part.pixels, part.alpha, part.depth)
        spans, size = _spans([None if array is None else array[0].nbytes for array in arrays])
        places: list[Place] = []
        for row in range(len(part.rows)):
            place = arena.lease(size)
            if place is None:
                break
            for array, span in zip(arrays, spans, strict=True):
                if array is not None:
                    place.memory[span] = array[row].reshape(-1).view(np.uint8)
            places.append(place)
        written = len(places)
        if written:
            shapes = tuple(None if array is None else array.shape[1:] for array in arrays)
            where = [(place.slab, place.index) for place in places]
            placed.append(PlacedPictures(part.rows[:written], part.pixel_format, shapes, where))
        if written < len(part.rows):
            by_value.append(part.take(range(written, len(part.rows)), part.rows[written:]))
    return placed, by_value


def records_of(requests: Sequence[FrameRequest], errors: dict[int, str]) -> list[FrameRecord]:
    """A record for each frame of the requests, without its picture."""
    records: list[FrameRecord] = []
    for request in requests:
        for index in range(request.count):
            error = errors.get(len(records), "the frame was not drawn")
            records.append(
                FrameRecord(
                    index=request.first + index,
                    generation=request.generation,
                    image=None,
                    alpha=None,
                    depth=None,
                    face_box=None,
                    head_pose=request.head_poses[index],
                    error=error,
                    avatar=request.avatar,
                    session=request.session,
                )
            )
    return records


def fill(
    records: Sequence[FrameRecord], placed: Iterable[PlacedPictures], values: Iterable[Pictures], arena: MappedArena
) -> None:
    """Give the records their pictures: views on shared memory, or arrays of their own."""
    for part in placed:
        pixels, *others = part.shapes
        alone = others == [None, None]
        for row, place in zip(part.rows, part.places, strict=True):
            record = records[row]
            if alone:
                record.image = arena.place(place, pixels)
            else:
                record.image, record.alpha, record.depth = _arrays(arena.place(place), part.shapes)
            record.pixel_format, record.error = part.pixel_format, None
    for given in values:
        for at, row in enumerate(given.rows):
            record = records[row]
            record.image = given.pixels[at]
            record.alpha = None if given.alpha is None else given.alpha[at]
            record.depth = None if given.depth is None else given.depth[at]
            record.pixel_format, record.error = given.pixel_format, None


def _arrays(memory: npt.NDArray[np.uint8], shapes: Sequence[tuple[int, ...] | None]) -> list[npt.NDArray[Any] | None]:
    sizes = [None if shape is None else _bytes(shape, dtype) for shape, dtype in zip(shapes, DTYPES, strict=True)]
    return [
        None if shape is None else memory[span].view(dtype).reshape(shape)
        for shape, span, dtype in zip(shapes, _spans(sizes)[0], DTYPES, strict=True)
    ]


def _spans(sizes: Sequence[int | None]) -> tuple[list[slice], int]:
    """Where each array lies in a place, and the bytes of the place."""
    spans, at = [], 0
    for size in sizes:
        spans.append(slice(at, at + (size or 0)))
        at += -(-(size or 0) // ALIGNED) * ALIGNED
    return spans, at


def _bytes(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> int:
    return int(np.prod(shape)) * dtype.itemsize
