"""`being export` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from being.avatar import Avatar
from being.commands.export import command
from being.errors import InputError
from being.model import load_ply


@pytest.mark.parametrize("name", ["a.txt", "a", "ply", "a.ply.gz"])
def test_a_name_that_is_no_ply_is_refused(tiny_avatar: Avatar, tmp_path: Path, name: str) -> None:
    result = CliRunner().invoke(command, ["ply", str(tiny_avatar.folder), "-o", str(tmp_path / name)])
    assert isinstance(result.exception, InputError) and "does not end in .ply" in str(result.exception)
    assert not (tmp_path / name).exists()


def test_gaussians_become_a_ply(tiny_avatar: Avatar, tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["ply", str(tiny_avatar.folder), "-o", str(tmp_path / "a.PLY")])
    assert result.exit_code == 0, result.output
    assert load_ply(tmp_path / "a.PLY").count == tiny_avatar.gaussians.count
