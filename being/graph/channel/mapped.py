"""The reader's side of an arena: frames as arrays on shared memory, released when nobody looks at them any more."""

from __future__ import annotations

import mmap
import os
from collections import deque

import numpy as np
import numpy.typing as npt

from being.graph.channel.arena import NewSlab

Released = deque[tuple[int, int]]  # slab and index of places


class _Mapping:
    """A slab in this process' memory, read only."""

    def __init__(self, form: NewSlab, file: int) -> None:
        self.place_bytes = form.place_bytes
        self._memory = mmap.mmap(file, form.places * form.place_bytes, prot=mmap.PROT_READ)
        self.address: int = np.frombuffer(self._memory, np.uint8).ctypes.data


class _Lease:
    """One place in use. Arrays on it hold it; when the last of them is gone, it is."""

    __slots__ = ("__array_interface__", "_mapping", "_place", "_released")

    def __init__(
        self, mapping: _Mapping, place: tuple[int, int], shape: tuple[int, ...] | None, released: Released
    ) -> None:
        self._mapping = mapping
        self._place = place
        self._released = released
        at = mapping.address + place[1] * mapping.place_bytes
        shape = (mapping.place_bytes,) if shape is None else shape
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": "|u1", "data": (at, True)}

    def __del__(self) -> None:
        self._released.append(self._place)


class MappedArena:
    """Slabs of an arena as another process announces them."""

    def __init__(self) -> None:
        self._mappings: dict[int, _Mapping] = {}
        self._released: Released = deque()  # filled by whichever thread drops the last array

    def add(self, form: NewSlab, file: int) -> None:
        """Map a new slab; its descriptor is closed."""
        try:
            self._mappings[form.number] = _Mapping(form, file)
        finally:
            os.close(file)

    def drop(self, number: int) -> None:
        """Unmap a slab of which no place is leased."""
        del self._mappings[number]

    def place(self, place: tuple[int, int], shape: tuple[int, ...] | None = None) -> npt.NDArray[np.uint8]:
        """Bytes of a place (slab and index), read only; it is released with the last array that looks into it.

        shape : of what stands at its beginning; without, all of it.
        """
        return np.asarray(_Lease(self._mappings[place[0]], place, shape, self._released))

    def take_released(self) -> list[tuple[int, int]]:
        """Places that are not needed any more: tell the arena."""
        taken = []
        while self._released:
            taken.append(self._released.popleft())
        return taken
