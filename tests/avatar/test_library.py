"""The library: several folders, broken avatars reported, new ones seen in time, ids that cannot leave the folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.tiny import make_tiny_avatar

from being.avatar.folder import save_avatar
from being.avatar.library import RESCAN_S, Library, default_paths
from being.errors import FormatError, InputError


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lists_and_loads(tiny_folder: Path) -> None:
    library = Library([tiny_folder])
    assert [entry.id for entry in library.entries()] == ["other", "tiny"]
    assert library.load("other").gaussians.count == 200
    assert library.broken() == []


def test_unknown_id_names_the_known_ones(tiny_folder: Path) -> None:
    with pytest.raises(InputError, match=r"no avatar 'tina'.*Known: other, tiny"):
        Library([tiny_folder]).get("tina")


@pytest.mark.parametrize("trick", ["../tiny", "/etc", "", ".", "tiny/../tiny", "tiny\0"])
def test_ids_are_names_and_never_paths(tiny_folder: Path, trick: str) -> None:
    with pytest.raises(InputError, match="no avatar"):
        Library([tiny_folder]).get(trick)


def test_first_folder_wins(tiny_folder: Path, tmp_path: Path) -> None:
    save_avatar(make_tiny_avatar("tiny", seed=7), tmp_path / "tiny")
    assert Library([tmp_path, tiny_folder]).get("tiny").manifest.name == "Tiny 7"
    assert Library([tiny_folder, tmp_path]).get("tiny").manifest.name == "Tiny 0"


def test_broken_avatar_is_reported_and_the_rest_still_works(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder / "tiny", tmp_path / "tiny")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "avatar.json").write_text("{}")
    (tmp_path / "not-an-avatar").mkdir()
    library = Library([tmp_path, tmp_path / "missing"])
    assert [entry.id for entry in library.entries()] == ["tiny"]
    assert [broken.folder.name for broken in library.broken()] == ["bad"]
    with pytest.raises(InputError, match=r"'bad' cannot be used: .*schema_version"):
        library.get("bad")


def test_damaged_arrays_are_found_when_loaded(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder / "tiny", tmp_path / "tiny")
    (tmp_path / "tiny" / "gaussians.ply").write_bytes(b"ply\n")
    library = Library([tmp_path])
    assert library.get("tiny").id == "tiny"
    with pytest.raises(FormatError, match=r"gaussians\.ply"):
        library.load("tiny")


def test_new_changed_and_removed_avatars_are_seen(tmp_path: Path) -> None:
    clock = Clock()
    library = Library([tmp_path], clock)
    assert library.entries() == []
    save_avatar(make_tiny_avatar(), tmp_path / "tiny")
    assert library.entries() == []  # not looked again yet
    assert library.get("tiny").manifest.name == "Tiny 0"  # asked for by name: looked at once
    save_avatar(make_tiny_avatar(seed=3), tmp_path / "tiny", replace_existing=True)
    clock.now += RESCAN_S
    assert [entry.manifest.name for entry in library.entries()] == ["Tiny 3"]
    shutil.rmtree(tmp_path / "tiny")
    clock.now += RESCAN_S
    assert library.entries() == []


def test_half_written_avatars_are_not_seen(tiny_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_folder / "tiny", tmp_path / ".tiny-abc" / "new")
    shutil.copytree(tiny_folder / "tiny", tmp_path / ".tiny")
    library = Library([tmp_path])
    assert library.entries() == [] and library.broken() == []


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("deepspeech", {"path": "/etc/passwd"}, "deepspeech"),
        ("phones", {"weights": "/etc/passwd"}, "features.params.weights"),
        ("wav2vec2", {"model": "../somewhere"}, "features.params.model"),
        ("logmel", {"width": 10**9}, "features.params.width"),
        ("logmel", {"width": "32"}, "features.params.width"),
        ("elsewhere", {}, "elsewhere"),
    ],
)
def test_a_served_avatar_names_nothing_outside_its_folder(
    tmp_path: Path, name: str, params: dict[str, object], words: str
) -> None:
    folder = tmp_path / "tiny"
    save_avatar(make_tiny_avatar(), folder)
    assert [entry.id for entry in Library([tmp_path], serving_policy=True).entries()] == ["tiny"]
    manifest = json.loads((folder / "avatar.json").read_text())
    manifest["features"] = {"name": name, "params": params}
    (folder / "avatar.json").write_text(json.dumps(manifest))
    library = Library([tmp_path], serving_policy=True)
    assert library.entries() == []
    assert words in library.broken()[0].error.problem
    with pytest.raises(InputError, match="cannot be used"):
        library.get("tiny")
    assert [entry.id for entry in Library([tmp_path]).entries()] == ["tiny"], "offline it is the user's own affair"


def test_default_paths_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("BEING_AVATARS", f"/a:{tmp_path}")
    assert [str(path) for path in default_paths()[:2]] == ["/a", str(tmp_path)]
    assert caplog.messages == ["BEING_AVATARS names /a, which is no folder"]
    monkeypatch.delenv("BEING_AVATARS")
    assert [path.name for path in default_paths()] == ["avatars", "avatars"]
    assert len(caplog.messages) == 1
    assert RESCAN_S <= 5
