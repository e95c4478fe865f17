"""Whatever goes wrong, nothing half-written stays and nothing precious is lost."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from support.clips import noise, picture_of

from being.errors import InputError
from being.media import StreamFormat, open_writer


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "frames"])
def test_an_error_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(RuntimeError), open_writer(tmp_path / name, StreamFormat(64, 48)) as writer:
        writer.write_frame(picture_of(0), 0)
        writer.write_sound(noise(0.1))
        raise RuntimeError("the model died")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm"])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    rng = np.random.default_rng(0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # what a full disk looks like, for this process
    try:
        with (
            pytest.raises(InputError, match="cannot be written"),
            open_writer(tmp_path / name, StreamFormat(256, 256)) as writer,
        ):
            for index in range(60):
                writer.write_sound(noise(0.04))
                writer.write_frame(rng.integers(0, 255, (256, 256, 3), dtype=np.uint8), index)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_targets_are_checked_before_any_work(tmp_path: Path) -> None:
    format = StreamFormat(64, 48)
    (tmp_path / "old.mp4").write_bytes(b"precious")
    with pytest.raises(InputError, match="exists"):
        open_writer(tmp_path / "old.mp4", format)
    assert (tmp_path / "old.mp4").read_bytes() == b"precious"
    with pytest.raises(InputError, match="folder does not exist"):
        open_writer(tmp_path / "no/clip.mp4", format)
    with pytest.raises(InputError, match=r"\.avi"):
        open_writer(tmp_path / "clip.avi", format)
    with pytest.raises(InputError, match="transparent"):
        open_writer(tmp_path / "clip.mp4", format, alpha=True)
    with pytest.raises(InputError, match="even"):
        open_writer(tmp_path / "clip.mp4", StreamFormat(63, 48))
    (tmp_path / "album").mkdir()
    (tmp_path / "album/holiday.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match=r"holiday\.jpg"):
        open_writer(tmp_path / "album", format, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["album", "old.mp4"]


def test_a_failed_render_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"precious")
    with pytest.raises(RuntimeError), open_writer(tmp_path / "clip.mp4", StreamFormat(64, 48), overwrite=True):
        raise RuntimeError
    assert (tmp_path / "clip.mp4").read_bytes() == b"precious"
