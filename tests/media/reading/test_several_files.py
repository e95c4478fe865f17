"""Where one file ends and the next begins inside one file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from support.sound_files import Track, write_media, write_wav

from being.media.reading.several_files import FilePart, find_parts

SOUND = 0.1 * np.sin(np.arange(8000) / 5)[:, None]


@pytest.mark.parametrize(
    ("ending", "codec"),
    [("wav", "pcm_s16le"), ("aiff", "pcm_s16be"), ("m4a", "aac"), ("avi", "mp2"), ("flv", "aac")],
)
def test_files_with_a_head_are_told_apart(tmp_path: Path, ending: str, codec: str) -> None:
    one = write_media(tmp_path / f"a.{ending}", [Track(np.tile(SOUND, (4, 1)), codec)]).read_bytes()
    assert find_parts(io.BytesIO(one)) == [(0, len(one))]
    assert find_parts(io.BytesIO(one * 3)) == [(i * len(one), len(one)) for i in range(3)]


def test_what_is_no_file_of_the_kind_ends_the_list(tmp_path: Path) -> None:
    one = write_wav(tmp_path / "a.wav", SOUND).read_bytes()
    for tail in (b"RIFF", b"RIFF\4\0\0\0 text of no kind", b"\0" * 100, b"\0"):
        assert find_parts(io.BytesIO(one + tail)) == [(0, len(one) + len(tail))]
    odd = one + b"\0" + one
    assert find_parts(io.BytesIO(odd)) == [(0, len(one) + 1), (len(one) + 1, len(one))]
    for size in (b"\xff\xff\xff\xff", bytes(4)):  # a head written before its sound was
        assert len(find_parts(io.BytesIO(one[:4] + size + one[8:]))) == 1


def test_a_part_reads_like_a_file_of_its_own() -> None:
    part = FilePart(io.BytesIO(bytes(range(100))), 10, 20)
    assert part.read() == bytes(range(10, 30)) and part.read(5) == b""
    assert part.seek(-3, io.SEEK_END) == 17 and part.read(10) == bytes(range(27, 30))
    assert part.seek(2) == 2 and part.seek(3, io.SEEK_CUR) == 5 and part.read(1) == b"\x0f"
