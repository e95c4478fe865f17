"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from being.idle_threads import let_idle_threads_sleep

let_idle_threads_sleep()  # as the being command does

import pytest
from support.tiny import make_tiny_avatar

from being.avatar.folder import Avatar, save_avatar
from being.avatar.library import Library
from being.graph.local import InProcessGraph
from being.inference.engine import Engine


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fitted forms of test avatars stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library folder with the avatars "tiny" and "other", saved; do not write into it."""
    root = tmp_path_factory.mktemp("avatars")
    save_avatar(make_tiny_avatar("tiny", 0), root / "tiny")
    save_avatar(make_tiny_avatar("other", 1, count=200), root / "other")
    return root


@pytest.fixture
def tiny_avatar(tmp_path: Path) -> Avatar:
    """The tiny avatar saved into a folder of this test's own; the folder is `tiny_avatar.folder`."""
    return save_avatar(make_tiny_avatar(), tmp_path / "avatars" / "tiny")


@pytest.fixture(scope="session")
def graph(tiny_folder: Path) -> Iterator[InProcessGraph]:
    """The graph in this process over the tiny avatars; it has no state but what it has loaded."""
    graph = InProcessGraph(Engine(Library([tiny_folder]), device="cpu"))
    yield graph
    graph.close()
