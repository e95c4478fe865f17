"""A file that is several, end to end: WAV, AIFF, AVI, MP4 or FLV files put one behind the other.

Their heads say where each ends, so that a decoder stops there. MP3, ADTS, FLAC, Ogg and transport streams need no help:
they are streams of packets, whose clocks `being.media.reading.file_clock` carries on.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from being.errors import InputError
from being.media.reading.input_container import Source, name_of, open_container

if TYPE_CHECKING:
    import av

MOST = 10_000  # files in one
SPOOLED = 64 << 20  # bytes of a source that cannot seek kept in memory; the rest goes to a temporary file
SPOOLED_MOST = 4 << 30
_TOP_BOXES = frozenset(b"moov mdat free skip wide udta uuid moof mfra sidx meta styp emsg".split())
_TAGS = (8, 9, 18)  # sound, picture, script


class FilePart(io.RawIOBase):
    """A stretch of another file, read as if it were one of its own; the other file stays open."""

    def __init__(self, file: BinaryIO, begins: int, length: int) -> None:
        if isinstance(name := getattr(file, "name", None), str):
            self.name = name  # FFmpeg looks at its ending, messages tell it
        self._file = file
        self._begins = begins
        self._length = length
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        left = max(self._length - self._at, 0)
        self._file.seek(self._begins + self._at)
        data = self._file.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


@dataclass(frozen=True)
class FilePlace:
    """A whole source, or one of the files in it, that can be opened as often as wanted."""

    source: Source
    begins: int
    length: int | None = None  # bytes; None: to the end of the source

    @contextmanager
    def opened(self, remedy: str) -> Iterator[av.container.InputContainer]:
        """Its container, at its start. Raises as `open_container`."""
        if self.length is None:
            if not isinstance(self.source, str | Path):
                self.source.seek(self.begins)
            with open_container(self.source, remedy) as container:
                yield container
        elif isinstance(self.source, str | Path):
            with Path(self.source).open("rb") as file:
                part = cast("BinaryIO", FilePart(file, self.begins, self.length))
                with open_container(part, remedy) as container:
                    yield container
        else:
            part = cast("BinaryIO", FilePart(self.source, self.begins, self.length))
            with open_container(part, remedy) as container:
                yield container


def find_places(source: Source) -> list[FilePlace]:
    """The files in a source, in order; the source itself where it is a single file, or none.

    Raises
    ------
    InputError
        The source cannot seek and holds too much to be kept.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.is_file():
            return [FilePlace(source, 0)]  # opening it says what is wrong
        try:
            with path.open("rb") as file:
                found = find_parts(file)
        except OSError:
            return [FilePlace(source, 0)]
        return [FilePlace(source, *part) for part in found] if len(found) > 1 else [FilePlace(source, 0)]
    seekable = source if source.seekable() else _spooled(source)
    start = seekable.tell()
    found = find_parts(seekable)
    return [FilePlace(seekable, *part) for part in found] if len(found) > 1 else [FilePlace(seekable, start)]


def _spooled(source: BinaryIO) -> BinaryIO:
    kept = cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=SPOOLED))  # noqa: SIM115 - lives as long as its places
    while data := source.read(1 << 20):
        kept.write(data)
        if kept.tell() > SPOOLED_MOST:
            raise InputError(f"{name_of(source)} holds more than {SPOOLED_MOST >> 30} GiB", "Give a file")
    kept.seek(0)
    return kept


def find_parts(file: BinaryIO) -> list[tuple[int, int]]:
    """(begins, length) in bytes of each file in `file`; one pair where it is a single file. Leaves it at its start."""
    start = file.tell()
    size = file.seek(0, io.SEEK_END)
    parts: list[tuple[int, int]] = []
    begins = start
    while len(parts) < MOST:
        end = _end_of(file, begins, size)
        begins_next = None if end is None else _next_head(file, end, size)
        if begins_next is None:
            break
        parts.append((begins, begins_next - begins))
        begins = begins_next
    parts.append((begins, size - begins))
    file.seek(start)
    return parts


def _end_of(file: BinaryIO, begins: int, size: int) -> int | None:
    """Where the file that begins there says it ends, if that is inside `file`."""
    file.seek(begins)
    head = file.read(12)
    if len(head) < 12:
        return None
    if head[:4] == b"RIFF" and head[8:] in (b"WAVE", b"AVI "):
        end = begins + 8 + int.from_bytes(head[4:8], "little")
    elif head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        end = begins + 8 + int.from_bytes(head[4:8], "big")
    elif head[4:8] == b"ftyp":
        end = _end_of_boxes(file, begins, size)
    elif head[:4] == b"FLV\x01":
        end = _end_of_tags(file, begins + int.from_bytes(head[5:9], "big"), size)
    else:
        return None
    return end if begins + 12 < end < size else None


def _end_of_boxes(file: BinaryIO, begins: int, size: int) -> int:
    """Behind the last top-level box before another `ftyp` (ISO 14496-12)."""
    at = begins
    for count in range(1_000_000):
        file.seek(at)
        head = file.read(16)
        kind, length = head[4:8], int.from_bytes(head[:4], "big")
        if len(head) < 8 or (count and kind not in _TOP_BOXES):
            return at
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # 0: to the end of the file
            return size
        at += length
    return size


def _end_of_tags(file: BinaryIO, at: int, size: int) -> int:
    """Behind the last tag of an FLV file (Adobe FLV 10.1, annex E) whose tags begin there, each behind a length."""
    at += 4
    while at < size:
        file.seek(at)
        head = file.read(4)
        if len(head) < 4 or head[0] & 0x1F not in _TAGS:
            return at
        at += 11 + int.from_bytes(head[1:], "big") + 4
    return size


def _next_head(file: BinaryIO, end: int, size: int) -> int | None:
    """Where another file of the same kinds begins, right there or behind a padding byte."""
    for at in (end, end + 1):
        file.seek(at)
        head = file.read(12)
        if len(head) < 12 or at >= size:
            return None
        riff = head[:4] == b"RIFF" and head[8:] in (b"WAVE", b"AVI ")
        aiff = head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC")
        if riff or aiff or head[4:8] == b"ftyp" or head[:4] == b"FLV\x01":
            return at
    return None
