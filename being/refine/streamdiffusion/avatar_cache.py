"""What is made of an avatar of the library, once per version of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from being.avatar.library import Library, LibraryEntry

T = TypeVar("T")


class AvatarCache(Generic[T]):
    """What `make` gives of avatars, by avatar."""

    def __init__(self, library: Library, make: Callable[[LibraryEntry], T]) -> None:
        self._library, self._make = library, make
        self._known: dict[str, tuple[LibraryEntry, T]] = {}

    def load(self, avatar: str) -> T:
        """Of the avatar as it lies on the disk now. InputError where there is no such avatar; what `make` raises."""
        entry = self._library.get(avatar)
        known = self._known.get(avatar)
        if known is None or known[0] is not entry:
            known = entry, self._make(entry)
            self._known[avatar] = known
        return known[1]

    def of(self, avatar: str) -> T:
        """What was made last; made now where nothing was."""
        known = self._known.get(avatar)
        return known[1] if known is not None else self.load(avatar)

    def forget(self, avatar: str) -> None:
        """Drop an avatar's."""
        self._known.pop(avatar, None)
