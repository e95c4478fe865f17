"""Bytes on their way to one client, bounded; a slow client costs only itself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class SendQueue:
    """When the client falls behind, what waits is dropped up to the next point it can start at.

    Parameters
    ----------
    limit : int
        Bytes that may wait.
    on_skip : callable
        Asked for a new starting point (a forced key frame) after something was dropped.
    """

    def __init__(self, limit: int, on_skip: Callable[[], object]) -> None:
        self._limit = limit
        self._on_skip = on_skip
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._skipping = False
        self.dropped = 0
        """Pieces the client never got."""

    def put(self, piece: bytes, *, starts: bool, keep: bool = False) -> bool:
        """Queue a piece. `starts`: decoding can start with it. `keep`: it is never dropped (a stream's head).

        Returns whether it was queued.
        """
        if self._skipping and not starts and not keep:
            self.dropped += 1
            return False
        if self._size + len(piece) > self._limit and not keep:
            self.dropped += len(self._waiting) + (not starts)
            self._waiting.clear()
            self._size = 0
            self._skipping = not starts
            if self._skipping:
                self._on_skip()
                return False
        self._skipping = self._skipping and not starts
        self._waiting.append(piece)
        self._size += len(piece)
        return True

    def cut(self) -> None:
        """What waits is not wanted any more: skip to the next starting point."""
        if self._waiting:
            self.dropped += len(self._waiting)
            self._waiting.clear()
            self._size = 0
            self._skipping = True
            self._on_skip()

    def take(self) -> bytes | None:
        """The next piece to send, None if there is none."""
        if not self._waiting:
            return None
        piece = self._waiting.popleft()
        self._size -= len(piece)
        return piece

    def take_all(self) -> bytes | None:
        """Everything that waits as one piece, None if there is nothing."""
        if len(self._waiting) <= 1:
            return self.take()
        piece = b"".join(self._waiting)
        self._waiting.clear()
        self._size = 0
        return piece

    @property
    def size(self) -> int:
        """Bytes waiting."""
        return self._size
