"""A folder written whole or not at all, and files carried over without reading them."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from being.errors import BeingError, InputError


@contextlib.contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A hidden empty folder beside `out` that becomes `out` when the block ends well, and vanishes otherwise.

    Raises
    ------
    InputError
        `out` exists or cannot be written. Errors of the block name the hidden folder as `out`.
    """
    out = Path(out)
    if out.exists():
        raise InputError(f"{out} already exists", "Choose another folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror})", "Choose another folder") from error
    draft = workshop / "new"
    try:
        draft.mkdir()
        yield draft
        os.rename(draft, out)
    except BeingError as error:
        raise type(error)(error.problem.replace(str(draft), str(out)), error.remedy) from error
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error})", "Check the disk") from error
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def carry(source: Path, target: Path) -> None:
    """`target` becomes the same file as `source` (a hard link), or a copy where the file system has no such links."""
    try:
        os.link(source.resolve(), target)  # of the file itself, where the source is a link
    except OSError:
        shutil.copyfile(source, target)


def carry_folder(source: Path, target: Path, suffixes: tuple[str, ...]) -> int:
    """Carry over the files of `source` with these suffixes; returns how many. A missing folder has none."""
    if not source.is_dir():
        return 0
    target.mkdir()
    count = 0
    for path in sorted(source.iterdir()):
        if path.suffix.lower() in suffixes and path.is_file():
            carry(path, target / path.name)
            count += 1
    return count
