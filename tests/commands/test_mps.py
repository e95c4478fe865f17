"""NVIDIA's Multi-Process Service around a server, with a control program that writes down what it is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from being.commands import mps
from being.commands.renderers import with_renderers
from being.commands.serve import DEFAULT, _sharing
from being.errors import InputError

CONTROL = """#!/bin/sh
said=$(cat)
echo "$CUDA_MPS_PIPE_DIRECTORY|${CUDA_VISIBLE_DEVICES-all}|$1|$said" >>"$TOLD"
[ "$1" = -d ] && exit ${STARTS-0}
[ -n "$CUDA_MPS_PIPE_DIRECTORY" ] || exit ${RUNS-1}
"""
TWO = with_renderers(DEFAULT, 2, 1)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The control program stands on the path, and a context can be had: what the program was told."""
    control = tmp_path / mps.CONTROL
    control.write_text(CONTROL)
    control.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    for name in ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(mps, "PROBE", "")
    return tmp_path / "told"


def test_it_runs_as_long_as_the_server(told: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _sharing(TWO, None, None) as environment:
        pipe = environment["CUDA_MPS_PIPE_DIRECTORY"]
        assert Path(pipe).is_dir() and set(environment) == {"CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"}
        assert told.read_text().splitlines() == ["|3||get_server_list", f"{pipe}|all|-d|"], "it sees all GPUs"
    assert told.read_text().splitlines()[2:] == [f"{pipe}|3||quit"] and not Path(pipe).parent.exists()
    assert "share the GPU by NVIDIA MPS" in capsys.readouterr().err


def test_one_that_runs_is_left_alone(
    told: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNS", "0")
    with _sharing(TWO, True, None) as environment:
        assert environment == {}
    assert told.read_text().splitlines() == ["|3||get_server_list"]
    assert "that runs here" in capsys.readouterr().err


@pytest.mark.parametrize(("settings", "wanted"), [(DEFAULT, None), (TWO, False)])
def test_it_is_not_run_for_nothing(told: Path, settings: dict[str, object], wanted: bool | None) -> None:
    with _sharing(settings, wanted, None) as environment:
        assert environment == {}
    assert not told.exists()


@pytest.mark.parametrize("wanted", [None, True])
def test_one_that_does_not_start_is_said(
    told: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wanted: bool | None
) -> None:
    monkeypatch.setenv("STARTS", "4")
    if wanted:
        with pytest.raises(InputError, match="ended with 4"), _sharing(TWO, wanted, None):
            pass
        return
    with _sharing(TWO, wanted, None) as environment:
        assert environment == {}
    assert "in turn" in (said := capsys.readouterr().err) and "ended with 4" in said


def test_one_that_gives_no_context_is_stopped(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mps, "PROBE", "raise SystemExit(1)")
    with pytest.raises(InputError, match="gives no context"), _sharing(TWO, True, None):
        pass
    assert told.read_text().splitlines()[-1].endswith("|quit")


def test_where_it_is_not_installed_renderers_take_turns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with _sharing(TWO, None, None) as environment:
        assert environment == {}
    assert "not installed" in capsys.readouterr().err


def test_a_clusters_is_not_ours() -> None:
    with pytest.raises(InputError, match="each node"), _sharing(TWO, True, "10.0.0.1:6379"):
        pass


PROGRAM = """
import os, sys
from being.commands import mps
mps.PROBE = ""
with mps.multi_process_service() as environment:
    print(environment["CUDA_MPS_PIPE_DIRECTORY"], flush=True)
    os.kill(os.getpid(), int(sys.argv[1]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_however_the_server_does(told: Path, number: int) -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM, str(number)], capture_output=True, text=True)
    pipe = Path(ended.stdout.strip())
    assert ended.returncode == -number and pipe.name == "pipe"
    until = time.monotonic() + 10
    while pipe.parent.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not pipe.parent.exists() and told.read_text().splitlines()[-1] == f"{pipe}|3||quit"
