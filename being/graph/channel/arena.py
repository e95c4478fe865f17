"""Shared memory that a renderer writes frames into; the reader has a lease of each place until it is done with it."""

from __future__ import annotations

import logging
import mmap
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SLAB_BYTES = 8 << 20  # taken from the system at a time: 21 frames of 512x512
MOST_BYTES = 1 << 30  # of one arena; more frames than that wait for an encoder nowhere
IDLE_S = 10.0  # a slab that nobody has needed for so long goes back to the system
PAGE = 4096

log = logging.getLogger(__name__)


class NewSlab(NamedTuple):
    """Memory that the reader has to map: `places` places of `place_bytes` each, behind a file descriptor."""

    number: int
    places: int
    place_bytes: int


@dataclass(frozen=True)
class Place:
    """Where one frame stands. memory : the bytes to write it into."""

    slab: int
    index: int
    memory: npt.NDArray[np.uint8]


class _Slab:
    """Places of one size; the one released last is leased first, for it is in the caches still."""

    def __init__(self, number: int, places: int, place_bytes: int) -> None:
        self.form = NewSlab(number, places, place_bytes)
        self.file = anonymous_file(places * place_bytes)
        try:
            memory = mmap.mmap(self.file, places * place_bytes)
        except OSError:
            os.close(self.file)
            raise
        self.memory = np.frombuffer(memory, np.uint8).reshape(places, place_bytes)
        self.free = list(range(places))
        self.free_since = 0.0

    @property
    def unused(self) -> bool:
        return len(self.free) == self.form.places


class Arena:
    """The places of one reader. Safe to call from several threads.

    The memory has no name: it is gone with the processes that map it, however they end, and the leases of a dead reader
    go with its arena. It is none of /dev/shm's either, of which a container has 64 MB.

    Parameters
    ----------
    most_bytes : of memory; what does not fit is to be sent by value.
    now : steady clock, seconds.
    """

    def __init__(self, most_bytes: int = MOST_BYTES, now: Callable[[], float] = time.monotonic) -> None:
        self._most = most_bytes
        self._now = now
        self._slabs: dict[int, _Slab] = {}
        self._numbers = 0
        self._new: list[_Slab] = []
        self._dropped: list[int] = []
        self._lock = threading.Lock()
        self._refused = False

    @property
    def leased(self) -> int:
        """Places that were not released."""
        return sum(slab.form.places - len(slab.free) for slab in self._slabs.values())

    @property
    def bytes(self) -> int:
        """Memory taken from the system."""
        return sum(slab.memory.nbytes for slab in self._slabs.values())

    def lease(self, size: int) -> Place | None:
        """A place for `size` bytes; None where there is no memory for it."""
        place_bytes = rounded(size)
        with self._lock:
            for slab in self._slabs.values():
                if slab.form.place_bytes == place_bytes and slab.free:
                    break
            else:
                added = self._added(place_bytes)
                if added is None:
                    return None
                slab = added
            index = slab.free.pop()
            return Place(slab.form.number, index, slab.memory[index])

    def release(self, slab: int, index: int) -> None:
        """The reader is done with a place. KeyError for a slab that was never leased."""
        with self._lock:
            given = self._slabs[slab]
            given.free.append(index)
            given.free_since = self._now()

    def changes(self) -> tuple[list[NewSlab], list[int], list[int]]:
        """What the reader must hear of with its next frames: new slabs, their file descriptors, dropped slabs.

        The descriptors are the caller's to close once they are sent.
        """
        with self._lock:
            for slab in [*self._slabs.values()]:
                if slab.unused and slab not in self._new and self._now() - slab.free_since > IDLE_S:
                    del self._slabs[slab.form.number]
                    self._dropped.append(slab.form.number)
            new, dropped = self._new, self._dropped
            self._new, self._dropped = [], []
            return [slab.form for slab in new], [slab.file for slab in new], dropped

    def close(self) -> None:
        """Take back everything: the reader is gone."""
        with self._lock:
            for slab in self._new:
                os.close(slab.file)
            self._new.clear()
            self._slabs.clear()

    def _added(self, place_bytes: int) -> _Slab | None:
        places = max(1, SLAB_BYTES // place_bytes)
        if self.bytes + places * place_bytes > self._most:
            self._refuse(f"{self._most >> 20} MB are in use")
            return None
        try:
            slab = _Slab(self._numbers, places, place_bytes)
        except OSError as error:
            self._refuse(error.strerror or "the system has none")
            return None
        self._numbers += 1
        slab.free_since = self._now()
        self._slabs[slab.form.number] = slab
        self._new.append(slab)
        return slab

    def _refuse(self, reason: str) -> None:
        if not self._refused:
            self._refused = True
            log.warning(
                "no shared memory for more frames (%s): those without are sent by value, which costs more", reason
            )


def anonymous_file(size: int) -> int:
    """Descriptor of a file of memory without a name, its pages reserved; OSError where there are not so many."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("being-frames", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as temporary:
            file = os.dup(temporary.fileno())
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file, 0, size)  # else the first write into a page that is not there kills the writer
        else:
            os.ftruncate(file, size)
    except OSError:
        os.close(file)
        raise
    return file


def rounded(size: int) -> int:
    """The size of the place for so many bytes: of few different sizes, a quarter too large at most, in whole pages."""
    step = max(PAGE, 1 << max(0, size.bit_length() - 3))
    return max(1, -(-size // step)) * step
