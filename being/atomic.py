"""Files appear whole or not at all: written beside their place under a hidden name, renamed at the end."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from being.errors import InputError


class Draft:
    """A file or folder being made for `target`; exists on disk from the start, so that a bad place shows at once.

    Parameters
    ----------
    target : Path
        Where the result goes. Its folder must exist.
    overwrite : bool
        Whether an existing target may be replaced.
    folder : bool
        Make a folder instead of a file.

    Raises
    ------
    InputError
        The target exists, its folder does not, or cannot be written.
    """

    def __init__(self, target: Path, *, overwrite: bool = False, folder: bool = False) -> None:
        self.target = Path(target)
        self._folder = folder
        if not self.target.parent.is_dir():
            raise InputError(f"{self.target}: its folder does not exist", f"Make it: mkdir -p {self.target.parent}")
        if self.target.exists() and (folder != self.target.is_dir()):
            kind = "folder" if self.target.is_dir() else "file"
            raise InputError(f"{self.target} is a {kind}", "Choose another name for the output")
        if self.target.exists() and not overwrite:
            raise InputError(f"{self.target} exists", "Choose another name, or pass --force to replace it")
        self.path = self.target.parent / f".{self.target.name}.{secrets.token_hex(4)}.part"
        with writing_to(self.target):
            if folder:
                self.path.mkdir()
            else:
                self.path.open("xb").close()

    def publish(self) -> None:
        """Put the draft in the target's place, in one step for a file."""
        with writing_to(self.target):
            if self._folder and self.target.exists():
                old = self.path.with_suffix(".old")
                os.rename(self.target, old)
                os.rename(self.path, self.target)
                shutil.rmtree(old)
            else:
                os.replace(self.path, self.target)

    def discard(self) -> None:
        """Remove the draft; harmless when it was published or discarded."""
        if self._folder:
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.path.unlink(missing_ok=True)


@contextmanager
def writing_to(target: Path) -> Iterator[None]:
    """Turn the operating system's refusals (full disk, no permission, read-only...) into one line about `target`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{target} cannot be written: {reason}", "Free space there or choose another place") from error
