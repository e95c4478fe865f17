"""The graph in this process over the tiny avatars."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from being.avatar.library import Library
from being.inference.engine import Engine
from being.live.graph import LocalGraph


@pytest.fixture(scope="package")
def graph(tiny_folder: Path) -> Iterator[LocalGraph]:
    graph = LocalGraph(Engine(Library([tiny_folder]), device="cpu"))
    yield graph
    graph.close()
