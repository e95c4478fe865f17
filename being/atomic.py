"""Files appear whole or not at all: written beside their place under a hidden name, renamed at the end."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from being.errors import BeingError, InputError


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
def whole_file(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """A file beside `path` that takes its place when the block ends well and vanishes otherwise.

    A link at `path` is replaced, not written through. `shared`: several processes may write it at the same time. What
    the operating system refuses is raised as it is: the caller knows what the file is for.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial" if shared else f"{path.name}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """A hidden empty folder beside `folder` that takes its place when the block ends well and vanishes otherwise.

    Raises
    ------
    InputError
        The folder exists and is not to be replaced, or it cannot be written; what was there is there still. Errors of
        the block that name the hidden folder name `folder` instead.
    """
    folder = Path(folder)
    if folder.exists() and not replace:
        raise InputError(f"{folder} already exists", "Choose another folder")
    with _refusals(folder, "Choose another folder"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    draft, former = workshop / "new", workshop / "old"
    try:
        with _refusals(folder, "Check the disk"):
            draft.mkdir()
            yield draft
            if folder.exists():
                os.rename(folder, former)
            try:
                os.rename(draft, folder)
            except OSError:
                if former.exists():
                    os.rename(former, folder)
                raise
    except BeingError as error:
        if str(draft) not in error.problem:
            raise
        raise type(error)(error.problem.replace(str(draft), str(folder)), error.remedy) from error
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder, if there is one: it is gone in one step, so that no kill leaves a part of it under its name.

    What a kill left of folders of this name, hidden beside it, goes with it.
    """
    with suppress(FileNotFoundError):
        os.rename(folder, folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.gone"))
    hidden = re.compile(rf"\.{re.escape(folder.name)}\.[0-9a-f]{{8}}\.gone")
    if folder.parent.is_dir():
        for name in filter(hidden.fullmatch, os.listdir(folder.parent)):
            shutil.rmtree(folder.parent / name, ignore_errors=True)


@contextmanager
def _refusals(folder: Path, remedy: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error})", remedy) from error


@contextmanager
def writing_to(target: Path) -> Iterator[None]:
    """Turn the operating system's refusals (full disk, no permission, read-only...) into one line about `target`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{target} cannot be written: {reason}", "Free space there or choose another place") from error
