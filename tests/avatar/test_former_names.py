"""Avatars whose `avatar.json` and caches use the names of earlier versions: read, and written under those of today."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from being.avatar.folder import MANIFEST, amend_avatar, load_avatar
from being.errors import FormatError


def as_written_before(folder: Path, form: str) -> dict[str, object]:
    """Turn the avatar in `folder` into what 21b279d wrote, with a cache of its own."""
    amend_avatar(folder, extra={"motion_stats.safetensors": folder / "network.safetensors"})
    document = json.loads((folder / MANIFEST).read_text())
    del document["approximation"]
    document["shortcut"] = form
    document["network"]["keep_to_heard"] = True
    del document["network"]["token_support"]
    document["files"]["survey.safetensors"] = document["files"].pop("motion_stats.safetensors")
    (folder / "motion_stats.safetensors").rename(folder / "survey.safetensors")
    (folder / MANIFEST).write_text(json.dumps(document))
    return document


@pytest.mark.parametrize(
    ("then", "now"), [("full", "full"), ("still", "pruned"), ("basis", "pca"), ("lite", "distilled")]
)
def test_avatars_of_earlier_versions_load(tiny_folder: Path, tmp_path: Path, then: str, now: str) -> None:
    folder = Path(shutil.copytree(tiny_folder / "tiny", tmp_path / "tiny"))
    as_written_before(folder, then)
    avatar = load_avatar(folder)
    assert avatar.manifest.approximation == now and avatar.manifest.network.token_support
    assert "survey.safetensors" in avatar.manifest.files
    amend_avatar(folder, name="Ada")
    written = json.loads((folder / MANIFEST).read_text())
    assert written["approximation"] == now and written["network"]["token_support"] is True
    assert "shortcut" not in written and "keep_to_heard" not in written["network"]
    assert load_avatar(folder).manifest.name == "Ada"


def test_unknown_names_are_still_refused(tiny_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_folder / "tiny", tmp_path / "tiny"))
    as_written_before(folder, "fastest")
    with pytest.raises(FormatError, match="approximation"):
        load_avatar(folder)
