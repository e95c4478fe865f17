"""Containers are opened whatever their tags, and what is none is called by its name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from support.sound_files import write_wav

from being.errors import InputError
from being.media.reading.input_container import name_of, open_container, read_packets
from being.media.reading.signatures import other_kind

REMEDY = "Give a sound"
TAG = b"LIST\x10\0\0\0INFOINAM\4\0\0\0\xff\xfe\xe9\0"


@pytest.fixture
def tagged(tmp_path: Path) -> bytes:
    data = write_wav(tmp_path / "a.wav", np.zeros((1600, 1))).read_bytes()
    return data[:4] + (len(data) + len(TAG) - 8).to_bytes(4, "little") + data[8:36] + TAG + data[36:]


def test_tags_that_are_no_utf8(tagged: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_container(io.BytesIO(tagged), REMEDY) as container:
        assert sum(packet.size for packet in read_packets(container, container.streams.audio)) == 3200
    opened = av.open

    def older(file: Any, mode: str, options: dict[str, str]) -> Any:
        """A PyAV without the option."""
        return opened(file, mode=mode, options=options)

    monkeypatch.setattr(av, "open", older)
    with (
        pytest.raises(InputError, match="tags that this PyAV cannot decode"),
        open_container(io.BytesIO(tagged), REMEDY),
    ):
        pass
    plain = tagged.replace(b"\xff\xfe\xe9", b"abc")
    with open_container(io.BytesIO(plain), REMEDY) as container:
        assert container.streams.audio


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>502 Bad Gateway</html>", "it is a web page"),
        (b"\x89PNG\r\n\x1a\n" + b"\7" * 100, "it is a PNG picture"),
        (bytes(5000), "nothing but zeros"),
        (b"A letter.\n" * 50, "it is text"),
        (b"\0\0\0\x18ftypmp42" + bytes(200), "its index is missing"),
        (b"#EXTM3U\nhttp://127.0.0.1/a.ts\n", "it is a playlist"),
    ],
)
def test_the_real_cause_is_named(content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught, open_container(io.BytesIO(content), REMEDY):
        pass
    assert "\n" not in str(caught.value) and str(caught.value).startswith("the upload")


def test_paths_and_uploads_have_names(tmp_path: Path) -> None:
    assert name_of(tmp_path / "a.wav") == str(tmp_path / "a.wav") and name_of(io.BytesIO()) == "the upload"
    assert other_kind(b"\x01\x02\x03\x04" * 20) == ""
