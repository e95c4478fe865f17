"""The avatars at hand: several folders looked at again at most every few seconds, broken ones reported, not fatal."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from being.avatar.folder import MANIFEST, Avatar, load_avatar, read_manifest
from being.avatar.schema import AvatarManifest
from being.avatar.serving_policy import check_serving_policy
from being.errors import BeingError, InputError

RESCAN_S = 2.0  # an avatar just written must be listed within 5 s
PACKAGED = Path(__file__).resolve().parent.parent / "avatars"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LibraryEntry:
    """An avatar that can be loaded: its checked manifest and where it lies."""

    manifest: AvatarManifest
    folder: Path

    @property
    def id(self) -> str:
        return self.manifest.id


@dataclass(frozen=True)
class BrokenAvatar:
    """A folder with an `avatar.json` that cannot be used, and why."""

    folder: Path
    error: BeingError


def default_paths() -> list[Path]:
    """The user's folders (environment BEING_AVATARS, or ./avatars), then the packaged demo.

    A folder of BEING_AVATARS that is not there is only warned of: it may be about to be made.
    """
    own = os.environ.get("BEING_AVATARS")
    if not own:
        return [Path("avatars"), PACKAGED]
    folders = [Path(part) for part in own.split(os.pathsep) if part]
    for folder in folders:
        if not folder.is_dir():
            log.warning("BEING_AVATARS names %s, which is no folder", folder)
    return [*folders, PACKAGED]


class Library:
    """Avatars by id over several folders; where two hold the same id the first folder wins.

    Only manifests are read here, again only when their file changed; hashes and arrays are checked by `load`.
    clock: seconds, monotonic; passed in so that rescanning is testable without waiting. serving_policy: apply
    `being.avatar.serving_policy`, as a server must: an avatar which names files outside its folder counts as broken.
    """

    def __init__(
        self,
        paths: Sequence[Path | str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        serving_policy: bool = False,
    ) -> None:
        self._serving_policy = serving_policy
        self.paths = [Path(path) for path in paths] if paths is not None else default_paths()
        self._clock = clock
        self._scanned_at: float | None = None
        self._seen: dict[Path, tuple[tuple[int, int, int], LibraryEntry | BrokenAvatar]] = {}
        self._entries: dict[str, LibraryEntry] = {}
        self._broken: list[BrokenAvatar] = []

    def entries(self) -> list[LibraryEntry]:
        """All usable avatars, sorted by id."""
        self._rescan_if_due()
        return [self._entries[id] for id in sorted(self._entries)]

    def broken(self) -> list[BrokenAvatar]:
        """Folders that look like avatars but cannot be listed."""
        self._rescan_if_due()
        return list(self._broken)

    def get(self, avatar_id: str) -> LibraryEntry:
        """The entry of an id, the same object until the avatar changes; looks at the disk again before it gives up.

        Raises
        ------
        InputError
            Naming the known ids, and the reason where a folder of that name is broken.
        """
        self._rescan_if_due()
        if avatar_id not in self._entries:
            self.rescan()
        entry = self._entries.get(avatar_id)
        if entry is not None:
            return entry
        for broken in self._broken:
            if broken.folder.name == avatar_id:
                raise InputError(f"avatar {avatar_id!r} cannot be used: {broken.error.problem}", broken.error.remedy)
        known = ", ".join(sorted(self._entries)) or "none"
        raise InputError(f"there is no avatar {avatar_id!r}", f"Known: {known}; see being avatars")

    def load(self, avatar_id: str) -> Avatar:
        """The avatar itself, every file checked; InputError or FormatError otherwise."""
        return load_avatar(self.get(avatar_id).folder)

    def rescan(self) -> None:
        """Look at the folders now."""
        entries: dict[str, LibraryEntry] = {}
        broken: list[BrokenAvatar] = []
        seen: dict[Path, tuple[tuple[int, int, int], LibraryEntry | BrokenAvatar]] = {}
        for folder in self._candidates():
            try:
                status = (folder / MANIFEST).stat()
            except OSError:
                continue
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            known = self._seen.get(folder)
            item = known[1] if known is not None and known[0] == stamp else _inspect(folder, self._serving_policy)
            seen[folder] = (stamp, item)
            if isinstance(item, BrokenAvatar):
                broken.append(item)
            else:
                entries.setdefault(item.id, item)
        self._seen, self._entries, self._broken = seen, entries, broken
        self._scanned_at = self._clock()

    def _rescan_if_due(self) -> None:
        if self._scanned_at is None or self._clock() - self._scanned_at >= RESCAN_S:
            self.rescan()

    def _candidates(self) -> list[Path]:
        """Folders directly under the library's paths; hidden ones are avatars still being written."""
        found: list[Path] = []
        for path in self.paths:
            try:
                children = sorted(path.iterdir())
            except OSError:
                continue
            found += [child for child in children if not child.name.startswith(".") and child.is_dir()]
        return found


def _inspect(folder: Path, serving_policy: bool) -> LibraryEntry | BrokenAvatar:
    try:
        manifest = read_manifest(folder)
        if manifest.id != folder.name:
            raise InputError(f"{folder}: avatar.json says id {manifest.id!r}", "The folder must be called like the id")
        if serving_policy:
            check_serving_policy(manifest.features, str(folder / MANIFEST))
        return LibraryEntry(manifest, folder)
    except BeingError as error:
        return BrokenAvatar(folder, error)
