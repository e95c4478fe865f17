"""The folders of avatars that a command line names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from being.errors import InputError


def require_folders(library: Iterable[Path]) -> None:
    """Raise InputError for the first that is no folder: a mistyped name would list no avatars, and say nothing."""
    for path in library:
        if not path.is_dir():
            raise InputError(f"{path} is no folder", "Give --library a folder of avatars")
