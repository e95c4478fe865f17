"""A capture may be killed at any moment: what is left is whole, or the same command goes on from there."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from being.atomic import remove_folder
from being.capture.workspace import STATE, Workspace
from being.dataset.writer import DatasetWriter
from being.errors import InputError

SETTINGS = {"version": 1}
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "open")  # audit events: what changes the disk


def make(out: Path, settings: dict[str, int], resume: bool = True) -> None:
    place = Workspace(out, settings, resume)
    place.save("step", values=np.arange(3))
    for name in ("pictures", "masks"):
        (place.path / name).mkdir(exist_ok=True)
        for index in range(3):
            (place.path / name / f"{index}.png").write_bytes(b"picture")
    (place.path / "last").write_bytes(b"")
    place.publish()


def killed_after(changes: int, out: Path, settings: dict[str, int], resume: bool) -> None:
    """Make it, and be killed by the operating system before the change of that number."""
    left = [changes]

    def count(event: str, args: tuple[object, ...]) -> None:
        if event in CHANGES and str(out.parent) in str(args[0]) and (event != "open" or "w" in str(args[1])):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    make(out, settings, resume)


@pytest.mark.parametrize("before", ["nothing", "half of another capture", "an empty folder"])
def test_a_kill_at_any_moment_leaves_a_whole_folder_or_one_to_go_on_with(tmp_path: Path, before: str) -> None:
    fork = multiprocessing.get_context("fork")
    kills = 0
    for changes in range(100):
        root = tmp_path / str(changes)
        root.mkdir()
        out = root / "person"
        if before == "half of another capture":
            other = Workspace(out, {"version": 0})
            (other.path / "pictures").mkdir()
            (other.path / "pictures" / "7.png").write_bytes(b"of another video")
        elif before == "an empty folder":
            out.mkdir()
        process = fork.Process(target=killed_after, args=(changes, out, SETTINGS, True))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        kills += 1
        if out.exists() and any(out.iterdir()):
            assert (out / "last").exists()
            with pytest.raises(InputError, match="exists already"):
                Workspace(out, SETTINGS)
        else:
            make(out, SETTINGS)
        assert sorted(path.name for path in out.iterdir()) == ["last", "masks", "pictures"]
        assert sorted(path.name for path in (out / "pictures").iterdir()) == ["0.png", "1.png", "2.png"]
        assert [path.name for path in root.iterdir() if not path.name.startswith(".")] == ["person"]
    assert kills > 10 and process.exitcode == 0


def test_a_folder_that_was_finished_but_not_published_is_written_on(tmp_path: Path) -> None:
    (tmp_path / "track_params.pt").write_bytes(b"finished")
    writer = DatasetWriter(tmp_path, 64, 64, 100.0)
    with pytest.raises(InputError, match="already holds a dataset"):
        writer.prepare()
    writer.prepare(again=True).prepare()
    assert not (tmp_path / "track_params.pt").exists()


def test_what_is_no_capture_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "person.part").mkdir()
    (tmp_path / "person.part" / "mine.txt").write_text("keep me")
    with pytest.raises(InputError, match="no unfinished capture"):
        Workspace(tmp_path / "person", SETTINGS)
    assert (tmp_path / "person.part" / "mine.txt").read_text() == "keep me"
    (tmp_path / ".person.notes.gone").mkdir()
    for name in ("person.part", "person.part", "person"):
        remove_folder(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [".person.notes.gone"]
    assert STATE.startswith(".")
