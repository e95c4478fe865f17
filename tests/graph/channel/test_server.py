"""Where session workers find a renderer: what dead renderers left behind goes, what lives is not disturbed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from being.graph.channel.server import BEGINNING_S, FOLDER, ChannelServer

RENDERER = "from being.graph.channel.server import ChannelServer; print(ChannelServer(None).path, flush=True); input()"


def renderer(temporary: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", RENDERER],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_folders_of_killed_renderers_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed, left_behind = renderer(tmp_path)
    living, kept = renderer(tmp_path)
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert left_behind.exists()
        beginning, never_began = tmp_path / f"{FOLDER}a", tmp_path / f"{FOLDER}b"
        beginning.mkdir()
        never_began.mkdir()
        old = never_began.stat().st_mtime - 2 * BEGINNING_S
        os.utime(never_began, (old, old))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        server = ChannelServer(lambda *_: pytest.fail("nobody asked"))
        try:
            assert set(tmp_path.iterdir()) == {kept.parent, beginning, Path(server.path).parent}
        finally:
            server.close()
        assert set(tmp_path.iterdir()) == {kept.parent, beginning}
    finally:
        living.kill()
        living.wait()
