"""The command line as a stranger meets it: help, one line for each mistake, exit status 2, nothing left behind."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest

from being import cli
from being.commands.picture_size import parse_size
from being.doctor import Check, Finding, checks
from being.errors import BeingError, InputError, MissingDependencyError


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of `being ARGUMENTS`, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["being", *map(str, arguments)])
        patch.setattr("signal.signal", lambda *_: None)  # the test runner keeps its handlers
        with pytest.raises(SystemExit) as leave:
            cli.main()
    logging.disable(logging.NOTSET)  # which being doctor leaves at another level
    out, err = capsys.readouterr()
    return int(leave.value.code or 0), out, err


def complaint(err: str) -> str:
    """The one line that is not progress."""
    lines = [line for line in err.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, err
    return lines[0]


def test_help_is_quick_and_teaches_by_example() -> None:
    done = subprocess.run([sys.executable, "-X", "importtime", "-m", "being", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "being render --sample -o hello.mp4" in done.stdout
    assert all(name in done.stdout for name in cli.COMMANDS)
    for heavy in ("torch", "numba", "numpy", "av", "rich", "pydantic"):  # what would make it slow
        assert not any(line.rsplit("|")[-1].strip() == heavy for line in done.stderr.splitlines()), heavy


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_has_help_with_the_text_listed(capsys: pytest.CaptureFixture[str], name: str) -> None:
    status, out, _ = run(capsys, name, "--help")
    assert status == 0 and out.startswith(f"Usage: being {name}")
    assert isinstance(cli.LazyGroup().get_command(click.Context(cli.being), name), click.Command)


def test_mistakes_are_one_line_and_status_two(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for arguments, words in (
        (["sing"], "sing is no command"),
        (["render"], "--out"),
        (["render", "-o", "a.mp4"], "--sample"),
        (["render", "--sample", "-o", "a.mp4", "--avatar", "nobody"], "no avatar 'nobody'"),
        (["render", "--sample", "-o", "a.mp4", "--seed", "x"], "--seed"),
        (["render", "--sample", "-o", "a.mp4", "--emotion", "rage"], "emotion 'rage' is not known"),
        (["render", "--sample", "-o", "a.mp4", "--emotion", "smile=much"], "Write it like smile=0.8"),
        (["render", "--sample", "-o", "a.mp4", "--avatar", str(tmp_path)], "avatar.json"),
    ):
        status, out, err = run(capsys, *arguments)
        assert status == cli.USER_ERROR and out == ""
        assert words in complaint(err)


def test_an_avatar_by_its_folder_is_that_one_or_an_error(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path
) -> None:
    """Never another avatar of the same id."""
    renamed = tmp_path / "somebody"
    shutil.copytree(tiny_folder / "tiny", renamed)
    status, _, err = run(capsys, "render", "--sample", "-o", str(tmp_path / "a.mp4"), "--avatar", str(renamed))
    assert status == cli.USER_ERROR and "must be called like the id" in complaint(err)
    assert not (tmp_path / "a.mp4").exists()


def test_unexpected_errors_are_one_line_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of\nall things")

    monkeypatch.setattr("being.avatar.library.Library.entries", broken)
    status, _, err = run(capsys, "avatars")
    assert status == cli.INTERNAL_ERROR
    assert complaint(err) == "being: internal error: ZeroDivisionError: of all things (BEING_DEBUG=1 shows where)"


def test_avatars_are_listed_with_the_broken_ones(
    capsys: pytest.CaptureFixture[str], tiny_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/avatar.json").write_text("{")
    arguments = ["avatars", "--library", str(tiny_folder), "--library", str(tmp_path)]
    status, out, err = run(capsys, *arguments)
    assert status == 0 and "tiny" in out and "other" in out
    assert "broken" in err and "damaged" in err
    status, out, _ = run(capsys, *arguments, "--json")
    rows = json.loads(out)
    assert [row.get("id") for row in rows] == ["other", "tiny", None]
    assert rows[1]["look_ahead"] == 1 and "error" in rows[2]


def test_a_library_that_is_no_folder_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for name in ("nowhere", "file"):
        for command in ("avatars", "serve"):
            status, out, err = run(capsys, command, "--library", str(tmp_path), "--library", str(tmp_path / name))
            assert (status, out) == (cli.USER_ERROR, "")
            assert complaint(err) == f"being: {tmp_path / name} is no folder. Give --library a folder of avatars"
    monkeypatch.setenv("BEING_AVATARS", str(tmp_path / "nowhere"))
    status, out, _ = run(capsys, "avatars")
    assert status == 0 and "demo" in out, "a folder of the environment may be about to be made"


def test_sizes() -> None:
    assert parse_size("512x256") == (512, 256)
    for text in ("512", "axb", "-1x5", "512x", ""):
        with pytest.raises(InputError, match="WIDTHxHEIGHT"):
            parse_size(text)


def test_doctor_turns_every_failure_into_a_remedy() -> None:
    def attempt(error: Exception) -> Finding:
        def fail() -> str:
            raise error

        return Check("part", "purpose", fail, "install it").run()

    assert Check("part", "purpose", lambda: "fine", "").run() == Finding("part", "purpose", True, True, "fine")
    assert attempt(BeingError("no such device")).remedy == "install it"
    assert attempt(MissingDependencyError("gsplat", "gpu", "Drawing")).remedy.startswith("Install it: pip install")
    assert attempt(ModuleNotFoundError("No module named 'x'", name="x")).detail == "x is not installed"
    assert attempt(OSError("lib\nmissing")).detail == "OSError: lib missing"


@pytest.mark.parametrize("name", ["python", "torch", "numba", "H.264 + AAC", "VP9 + Opus", "phones"])
def test_what_rendering_needs_works_here(name: str) -> None:
    finding = next(check for check in checks() if check.name == name).run()
    assert finding.works, finding.detail


def test_doctor_speaks_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    few = [Check("good", "p", lambda: "fine", ""), Check("bad", "p", lambda: str(np.ones(1) @ np.ones(2)), "mend it")]
    monkeypatch.setattr("being.doctor.checks", lambda: few)
    status, out, _ = run(capsys, "doctor", "--json")
    rows = json.loads(out)
    assert status == 1
    assert [(row["name"], row["works"]) for row in rows] == [("good", True), ("bad", False)]
    assert rows[1]["remedy"] == "mend it" and rows[1]["detail"].startswith("ValueError")


def test_help_imports_nothing_heavy() -> None:
    """It is asked for often, and by shells that complete words."""
    heavy = ["torch", "numba", "ray", "scipy", "numpy", "PIL", "pydantic", "fastapi", "av"]
    code = (
        "import sys\nfrom being.cli import main\nsys.argv = ['being', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print('imported:', [name for name in {heavy} if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "render" in said and said.endswith("imported: []\n")
