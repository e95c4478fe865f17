"""Files carried over without reading them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


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
