"""Whatever goes wrong, nothing half-written stays and nothing precious is lost."""

from __future__ import annotations

import errno
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from support.clips import noise, picture_of

from being.atomic import whole_file, whole_folder
from being.errors import FormatError, InputError
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


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    with whole_file(path) as draft:
        draft.write_bytes(b"old")
        assert not path.exists()
    with pytest.raises(RuntimeError), whole_file(path) as draft:
        draft.write_bytes(b"half")
        raise RuntimeError("stopped")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    (tmp_path / "link").hardlink_to(path)
    with whole_file(path, shared=True) as draft:
        draft.write_bytes(b"new")
    assert path.read_bytes() == b"new" and (tmp_path / "link").read_bytes() == b"old"
    with pytest.raises(OSError, match="No such file"), whole_file(tmp_path / "nowhere" / "file") as draft:
        draft.write_bytes(b"")


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    with pytest.raises(FormatError, match="new/folder/a is damaged"), whole_folder(out) as draft:
        (draft / "a").write_text("half")
        raise FormatError(f"{draft / 'a'} is damaged")
    assert list(out.parent.iterdir()) == []
    with whole_folder(out) as draft:
        (draft / "a").write_text("1")
        assert not out.exists()
    with pytest.raises(InputError, match="already exists"), whole_folder(out):
        pass
    with pytest.raises(RuntimeError), whole_folder(out, replace=True) as draft:
        raise RuntimeError("stopped")
    assert (out / "a").read_text() == "1"
    with whole_folder(out, replace=True) as draft:
        (draft / "b").write_text("2")
    assert [path.name for path in out.iterdir()] == ["b"] and list(out.parent.iterdir()) == [out]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), whole_folder(tmp_path / "file" / "folder"):
        pass


def test_a_folder_that_cannot_take_its_place_leaves_the_former_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "folder"
    with whole_folder(out) as draft:
        (draft / "a").write_text("1")
    rename = os.rename

    def refuses(source: Path, target: Path) -> None:
        if Path(target) == out and not (Path(source) / "a").exists():  # the new one; the former may go back
            raise OSError(errno.EACCES, "Permission denied")
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuses)
    with pytest.raises(InputError, match="cannot be written"), whole_folder(out, replace=True) as draft:
        (draft / "b").write_text("2")
    assert list(tmp_path.iterdir()) == [out] and (out / "a").read_text() == "1"
