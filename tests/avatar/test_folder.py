"""The avatar folder: what is saved loads again, and everything damaged or hostile is named and refused."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.tiny import make_motion, make_tiny_avatar

from being.avatar.content import sha256_of
from being.avatar.folder import Avatar, amend_avatar, load_avatar, save_avatar
from being.errors import FormatError, InputError


def rehash(folder: Path, name: str) -> None:
    """Make avatar.json agree with a file that the test changed, so that the next check is reached."""
    manifest = json.loads((folder / "avatar.json").read_text())
    manifest["files"][name] = sha256_of(folder / name)
    (folder / "avatar.json").write_text(json.dumps(manifest))


def edit_manifest(folder: Path, **fields: object) -> None:
    manifest = json.loads((folder / "avatar.json").read_text())
    manifest.update(fields)
    (folder / "avatar.json").write_text(json.dumps(manifest))


def edit_tensors(folder: Path, edit: Callable[[dict[str, torch.Tensor]], None]) -> None:
    path = folder / "network.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path)
    rehash(folder, path.name)


def test_saved_avatar_loads_equal(tiny_avatar: Avatar) -> None:
    assert tiny_avatar.folder is not None
    loaded = load_avatar(tiny_avatar.folder)
    original = make_tiny_avatar()
    for name, tensor in original.gaussians.tensors().items():
        assert torch.equal(tensor, loaded.gaussians.tensors()[name]), name
    for name, tensor in original.network.state_dict().items():
        assert torch.equal(tensor, loaded.network.state_dict()[name]), name
    assert np.array_equal(original.background, loaded.background)
    assert np.allclose(original.motion.head_pose, loaded.motion.head_pose)
    assert loaded.manifest == tiny_avatar.manifest
    assert set(loaded.manifest.files) == {path.name for path in tiny_avatar.folder.iterdir()} - {"avatar.json"}
    assert not loaded.network.training


def test_nothing_is_left_beside_the_folder(tiny_avatar: Avatar) -> None:
    assert tiny_avatar.folder is not None
    assert os.listdir(tiny_avatar.folder.parent) == ["tiny"]


def test_existing_folder_is_kept_unless_allowed(tiny_avatar: Avatar) -> None:
    assert tiny_avatar.folder is not None
    with pytest.raises(InputError, match="already exists"):
        save_avatar(tiny_avatar, tiny_avatar.folder)
    other = make_tiny_avatar("tiny", seed=5)
    save_avatar(other, tiny_avatar.folder, replace_existing=True)
    assert load_avatar(tiny_avatar.folder).manifest.name == "Tiny 5"


def test_an_avatar_that_would_not_load_is_not_saved(tiny_avatar: Avatar) -> None:
    assert tiny_avatar.folder is not None
    before = (tiny_avatar.folder / "avatar.json").read_bytes()
    tiny_avatar.gaussians.xyz[3, 1] = float("nan")
    with pytest.raises(FormatError, match="xyz"):
        save_avatar(tiny_avatar, tiny_avatar.folder, replace_existing=True)
    assert (tiny_avatar.folder / "avatar.json").read_bytes() == before
    assert os.listdir(tiny_avatar.folder.parent) == ["tiny"]


def test_folder_must_be_called_like_the_id(tiny_avatar: Avatar, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be called 'tiny'"):
        save_avatar(tiny_avatar, tmp_path / "someone")
    assert tiny_avatar.folder is not None
    tiny_avatar.folder.rename(tmp_path / "someone")
    with pytest.raises(FormatError, match=r"id is 'tiny' but the folder is called 'someone'"):
        load_avatar(tmp_path / "someone")


@pytest.mark.parametrize(
    "name", ["gaussians.ply", "network.safetensors", "motion.npz", "background.png", "preview.jpg"]
)
def test_damage_is_named(tiny_avatar: Avatar, name: str) -> None:
    folder = tiny_avatar.folder
    assert folder is not None
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(FormatError, match=rf"{name}: SHA-256 is \w+\.\.\., avatar.json says"):
        load_avatar(folder)
    (folder / name).unlink()
    with pytest.raises(FormatError, match=f"{name}: is missing"):
        load_avatar(folder)


@pytest.mark.parametrize("name", ["gaussians.ply", "network.safetensors", "motion.npz", "background.png"])
def test_truncated_file_is_refused_whatever_its_hash(tiny_avatar: Avatar, name: str) -> None:
    folder = tiny_avatar.folder
    assert folder is not None
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) * 2 // 3])
    rehash(folder, name)
    with pytest.raises(FormatError, match=name):
        load_avatar(folder)


class Bomb:
    """Unpickling this would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["gaussians.ply", "network.safetensors", "motion.npz", "background.png"])
@pytest.mark.parametrize("how", ["pickle", "torch", "object array"])
def test_pickle_is_refused_and_never_opened(tiny_avatar: Avatar, tmp_path: Path, name: str, how: str) -> None:
    folder = tiny_avatar.folder
    assert folder is not None
    bomb = Bomb(tmp_path / "boom")
    with (folder / name).open("wb") as file:
        if how == "pickle":
            pickle.dump(bomb, file)
        elif how == "torch":
            torch.save({"x": bomb}, file)
        else:
            np.savez(file, eye=np.array([bomb], object))
    rehash(folder, name)
    with pytest.raises(FormatError, match=name):
        load_avatar(folder)
    assert not bomb.path.exists()


@pytest.mark.parametrize("name", ["network.pt", "weights.pkl", "run.sh"])
def test_foreign_file_is_refused(tiny_avatar: Avatar, name: str) -> None:
    assert tiny_avatar.folder is not None
    (tiny_avatar.folder / name).write_bytes(b"anything")
    with pytest.raises(FormatError, match=f"{name}: does not belong in an avatar"):
        load_avatar(tiny_avatar.folder)


def test_link_is_refused(tiny_avatar: Avatar, tmp_path: Path) -> None:
    assert tiny_avatar.folder is not None
    target = tiny_avatar.folder / "background.png"
    target.rename(tmp_path / "elsewhere.png")
    target.symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(FormatError, match="is a link"):
        load_avatar(tiny_avatar.folder)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schema_version": 2}, "schema_version is 2, this library reads 1"),
        ({"schema_version": None}, "schema_version is None"),
        ({"id": "../../etc/passwd"}, "id: "),
        ({"id": "Tiny"}, "id: "),
        ({"width": 0}, "width: "),
        ({"focal": -3}, "focal: "),
        ({"cx": 1000}, "cx, cy = 1000"),
        ({"look_ahead": -1}, "look_ahead"),
        ({"gaussians": 301}, "holds 300 Gaussians, avatar.json says 301"),
        ({"files": {"../gaussians.ply": "0" * 64}}, "'../gaussians.ply' is not a file of an avatar"),
        ({"files": {}}, "no SHA-256 of gaussians.ply"),
        ({"unknown": 1}, "unknown: "),
        ({"consent": {"status": "consented", "who": "Ada"}}, "when, scope, statement is missing"),
    ],
)
def test_wrong_manifest_field_is_named(tiny_avatar: Avatar, fields: dict[str, object], message: str) -> None:
    assert tiny_avatar.folder is not None
    edit_manifest(tiny_avatar.folder, **fields)
    with pytest.raises(FormatError) as caught:
        load_avatar(tiny_avatar.folder)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"focal": NaN}', "[" * 100_000])
def test_manifest_that_is_not_json_is_refused(tiny_avatar: Avatar, text: str) -> None:
    assert tiny_avatar.folder is not None
    (tiny_avatar.folder / "avatar.json").write_text(text)
    with pytest.raises(FormatError, match=r"avatar\.json"):
        load_avatar(tiny_avatar.folder)


def test_network_tensors_are_checked(tiny_avatar: Avatar) -> None:
    folder = tiny_avatar.folder
    assert folder is not None

    def poison(tensors: dict[str, torch.Tensor]) -> None:
        tensors["null_token"][0] = float("nan")

    def reshape(tensors: dict[str, torch.Tensor]) -> None:
        tensors["null_token"] = torch.zeros(65)

    def drop(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["null_token"]

    for edit in (poison, reshape, drop):
        edit_tensors(folder, edit)
        with pytest.raises(FormatError, match=r"network\.safetensors: .*null_token"):
            load_avatar(folder)


def test_network_too_large_for_its_file_is_refused_before_it_is_built(tiny_avatar: Avatar) -> None:
    assert tiny_avatar.folder is not None
    manifest = json.loads((tiny_avatar.folder / "avatar.json").read_text())
    manifest["network"].update(plane_resolutions=[1024, 1024], plane_channels=256, width=512)
    (tiny_avatar.folder / "avatar.json").write_text(json.dumps(manifest))
    with pytest.raises(FormatError, match=r"network\.safetensors: holds \d+ bytes, the network of avatar.json needs"):
        load_avatar(tiny_avatar.folder)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("head_pose", np.zeros((80, 3, 4), np.float32), "head_pose is not a rotation at frame 0"),
        ("head_pose", np.zeros((79, 3, 4), np.float32), "head_pose has shape"),
        ("torso_pose", np.full((80, 3, 4), np.nan, np.float32), "torso_pose holds NaN or infinity at frame 0"),
        ("eye", np.full(80, 2.0, np.float32), "eye ranges over"),
        ("talking", np.zeros(80, np.float32), "talking has type float32"),
        ("talking", None, "array talking is missing"),
    ],
)
def test_motion_arrays_are_checked(tiny_avatar: Avatar, name: str, value: np.ndarray | None, message: str) -> None:
    folder = tiny_avatar.folder
    assert folder is not None
    arrays = make_motion(80).arrays()
    if value is None:
        del arrays[name]
    else:
        arrays[name] = value
    np.savez(folder / "motion.npz", **arrays)
    rehash(folder, "motion.npz")
    with pytest.raises(FormatError, match=message):
        load_avatar(folder)


def test_background_must_have_the_frame_size(tiny_avatar: Avatar, tmp_path: Path) -> None:
    wrong = replace(tiny_avatar, background=np.zeros((10, 10, 3), np.uint8))
    with pytest.raises(FormatError, match=r"is 10x10, avatar\.json says 64x48"):
        save_avatar(wrong, tmp_path / "tiny")
    assert not (tmp_path / "tiny").exists()


def test_unwritable_place_is_one_clear_error(tiny_avatar: Avatar, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="cannot be written"):
        save_avatar(tiny_avatar, tmp_path / "file" / "tiny")


def test_amending_changes_only_what_is_asked(tiny_avatar: Avatar, tmp_path: Path) -> None:
    folder = tiny_avatar.folder
    assert folder is not None
    cache = tmp_path / "cache.safetensors"
    save_file({"x": torch.zeros(3)}, cache)
    preview = (folder / "preview.jpg").read_bytes()
    amend_avatar(folder, extra={"distilled.safetensors": cache}, approximation="distilled")
    loaded = load_avatar(folder)
    assert loaded.manifest.approximation == "distilled" and "distilled.safetensors" in loaded.manifest.files
    assert loaded.manifest.gaussians == tiny_avatar.manifest.gaussians
    assert (folder / "preview.jpg").read_bytes() == preview
    with pytest.raises(FormatError, match="approximation"):
        amend_avatar(folder, approximation="magic")
    with pytest.raises(InputError, match=r"'notes\.txt' is not a file"):
        amend_avatar(folder, extra={"notes.txt": cache})
    assert load_avatar(folder).manifest.approximation == "distilled"


def test_loading_is_quick_to_import() -> None:
    """Building a network on the meta device can import PyTorch's compiler and sympy: seconds before the first frame."""
    program = (
        "import sys, torch\n"
        "from being.avatar.library import Library\n"
        "before = set(sys.modules)\n"
        "Library().load('demo')\n"
        "print(sum(name.split('.')[0] == 'sympy' for name in set(sys.modules) - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
