"""Servers for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.api_server import PATIENT, Server, drawing, running

from being.api.origin import Access
from being.graph.local import InProcessGraph
from being.server.limits import ServingLimits


@pytest.fixture(scope="session")
def graph(tiny_folder: Path) -> Iterator[InProcessGraph]:
    """One engine over the tiny avatars for all servers; it has no state but what it has loaded."""
    with drawing(tiny_folder, warm="tiny") as one:
        yield one


@pytest.fixture(scope="session")
def server(graph: InProcessGraph) -> Iterator[Server]:
    """One server for all tests that leave it as it was."""
    with running(graph) as one:
        yield one


@pytest.fixture
def serve(graph: InProcessGraph) -> Iterator[Callable[..., Server]]:
    """Start servers of this test's own, over the tiny avatars or another folder: serve(limits=..., folder=..., ...)."""
    with ExitStack() as stack:

        def start(
            limits: ServingLimits = PATIENT,
            folder: Path | None = None,
            access: Access | None = None,
            prefix: str = "",
            told: bool = True,
        ) -> Server:
            own = graph if folder is None else stack.enter_context(drawing(folder))
            return stack.enter_context(running(own, limits, access, prefix, told))

        yield start
