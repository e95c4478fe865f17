"""The writer for a path, by its suffix."""

from __future__ import annotations

from pathlib import Path

from being.errors import InputError
from being.media.contract import StreamFormat, VideoWriter
from being.media.mp4 import Mp4Writer
from being.media.png import PngWriter
from being.media.webm import WebmWriter


def check_target(path: Path, format: StreamFormat, *, alpha: bool = False, overwrite: bool = False) -> None:
    """Find out now whether `open_writer` will take the same arguments: a bad name or place should cost no work.

    Raises
    ------
    InputError
        As `open_writer` does.
    """
    open_writer(path, format, alpha=alpha, overwrite=overwrite).abort()


def open_writer(path: Path, format: StreamFormat, *, alpha: bool = False, overwrite: bool = False) -> VideoWriter:
    """The writer for a path: `.mp4`, `.webm`, or a folder of PNG frames (no suffix).

    Raises
    ------
    InputError
        The suffix is unknown, `alpha` is asked of MP4, the target exists and `overwrite` is not set, or the place
        cannot be written: all of it before any work is done.
    """
    suffix = path.suffix.lower()
    if suffix == ".mp4":
        if alpha:
            raise InputError("MP4 cannot hold a transparent background", "Write .webm or a folder of PNG frames")
        return Mp4Writer(path, format, overwrite=overwrite)
    if suffix == ".webm":
        return WebmWriter(path, format, alpha=alpha, overwrite=overwrite)
    if suffix == "":
        return PngWriter(path, format, overwrite=overwrite)
    raise InputError(f"{path}: {suffix} is not a format Being writes", "Use .mp4, .webm, or a folder for PNG frames")
