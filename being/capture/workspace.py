"""A capture in the making: a folder `OUT.part` that remembers how far it came and becomes OUT when it is whole.

A run that was stopped, by Ctrl-C, a kill, a crash or a full disk, leaves it; the same command goes on from there. A run
that is refused for what the video shows removes it.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from being.atomic import remove_folder, whole_file
from being.errors import InputError

STATE = ".capture"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Workspace:
    """The folder beside `out`.

    Parameters
    ----------
    out : where the dataset will stand; must not exist, or be an empty folder.
    settings : what the result depends on; a folder left by a run with other settings is begun anew.
    resume : go on where an earlier run stopped.

    Raises
    ------
    InputError where `out` is taken or the place cannot be written.
    """

    def __init__(self, out: Path, settings: dict[str, Any], resume: bool = True) -> None:
        self.out = Path(os.path.abspath(out))
        self.path = self.out.with_name(self.out.name + ".part")
        self.state = self.path / STATE
        if self.out.exists() and not (self.out.is_dir() and not any(self.out.iterdir())):
            remove_folder(self.out / STATE)  # of a run that was killed just after it published
            raise InputError(f"{out} exists already", "Choose another folder, or delete it first")
        with writing_to(self.out):
            if self.path.exists():
                self._take_over(settings, resume)
            self.state.mkdir(parents=True, exist_ok=True)
            self._write("settings.json", json.dumps(settings, sort_keys=True).encode())

    def _take_over(self, settings: dict[str, Any], resume: bool) -> None:
        left = self.state / "settings.json"
        if not self.state.is_dir() and any(self.path.iterdir()):
            raise InputError(f"{self.path} is in the way and no unfinished capture", "Move it or choose another folder")
        same = left.is_file() and left.read_text() == json.dumps(settings, sort_keys=True)
        if not (resume and same):
            remove_folder(self.path)

    def load(self, name: str) -> dict[str, NDArray[Any]] | None:
        """Arrays saved under `name` by this run or the one before; None where there are none."""
        path = self.state / f"{name}.npz"
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return {key: arrays[key] for key in arrays}
        except (FileNotFoundError, ValueError, zipfile.BadZipFile):
            return None

    def save(self, name: str, **arrays: Any) -> None:
        """Keep arrays under `name`, whole or not at all."""
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        self._write(f"{name}.npz", buffer.getvalue())

    def publish(self) -> None:
        """The finished folder takes its place, in one step: whenever a kill comes, one of the two is there."""
        os.rename(self.path, self.out)  # which is not there, or empty, as checked
        remove_folder(self.out / STATE)

    def discard(self) -> None:
        """Remove everything."""
        with suppress(OSError):
            remove_folder(self.path)

    def _write(self, name: str, content: bytes) -> None:
        with whole_file(self.state / name) as partial:
            partial.write_bytes(content)


def require_room(out: Path, bytes_needed: int) -> None:
    """Raise InputError when the disk of `out` clearly has no room for what is still to be written of the result."""
    place = Path(os.path.abspath(out)).parent
    while not place.exists():
        place = place.parent
    part = Path(os.path.abspath(out)).with_name(out.name + ".part")
    bytes_needed -= sum(file.stat().st_size for file in part.rglob("*") if file.is_file())
    disk = shutil.disk_usage(place)
    free = disk.free
    if disk.total and free < bytes_needed:  # what has no size at all is no disk, and refuses by itself
        raise InputError(
            f"{out} needs about {bytes_needed / 1e9:.2g} GB, the disk has {free / 1e9:.2g} GB left",
            "Free some room, choose another disk, or a smaller --size",
        )


@contextmanager
def writing_to(out: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into one line."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull(out) from error
        reason = error.strerror or str(error)
        raise InputError(f"{out} cannot be written: {reason}", "Choose a folder that you may write to") from error


class DiskFull(InputError):
    """The disk filled up; what is done so far is kept."""

    def __init__(self, out: Path) -> None:
        super().__init__(
            f"The disk is full: {out} could not be finished",
            f"Free some room and run the same command again: it goes on where it stopped (or delete {out}.part)",
        )
