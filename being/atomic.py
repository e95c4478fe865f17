"""Files and folders appear whole or not at all: made beside their place under a hidden name, renamed at the end.

`whole_file` and `whole_folder` are for what is written in one go, `Draft` for what is written over time, as a film is.
Nothing else in Being renames what it has written.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from being.errors import BeingError, InputError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """The path to write to; it replaces `path` when the block ends well and vanishes otherwise.

    Two processes may do so at once: the later one's file stays. A link at `path` is replaced, not written through.
    Refusals of the operating system are raised as they are: `writing_to` makes them a line for a user.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield draft
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Replace the file `path` by one with this content."""
    with whole_file(path) as draft:
        draft.write_bytes(content)


@contextmanager
def whole_folder(out: Path, *, replace: bool = False) -> Iterator[Path]:
    """A hidden empty folder beside `out` that becomes `out` when the block ends well and vanishes otherwise.

    The folder above is made where it is missing. replace : an `out` that is there is replaced, and stays where the
    block ends badly.

    Raises
    ------
    InputError
        `out` exists and may not be replaced, or cannot be written. Errors of the block name the hidden folder as `out`.
    """
    out = Path(out)
    if out.exists() and not replace:
        raise InputError(f"{out} already exists", "Choose another folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = out.parent / f".{out.name}.{secrets.token_hex(4)}.part"
        draft.mkdir()
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror})", "Choose another folder") from error
    try:
        yield draft
        _put(draft, out)
    except BeingError as error:
        if str(draft) not in error.problem:
            raise
        raise type(error)(error.problem.replace(str(draft), str(out)), error.remedy) from error
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror or error})", "Check the disk") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _put(draft: Path, out: Path) -> None:
    """Rename a folder, over one that may be there; that one stays where the system refuses."""
    if not out.exists():
        os.rename(draft, out)
        return
    former = draft.with_suffix(".old")
    os.rename(out, former)
    try:
        os.rename(draft, out)
    except OSError:
        os.rename(former, out)
        raise
    shutil.rmtree(former, ignore_errors=True)


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
            if self._folder:
                _put(self.path, self.target)
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
