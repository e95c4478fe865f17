"""Servers for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from api_server import Server, running

from being.api.limits import ServingLimits


@pytest.fixture(scope="session")
def server(tiny_folder: Path) -> Iterator[Server]:
    """One server for all tests that leave it as it was."""
    with running(tiny_folder) as one:
        yield one


@pytest.fixture
def serve(tiny_folder: Path) -> Iterator[Callable[..., Server]]:
    """Start servers of this test's own: serve(limits=..., folder=...)."""
    with ExitStack() as stack:

        def start(limits: ServingLimits | None = None, folder: Path = tiny_folder) -> Server:
            return stack.enter_context(running(folder, limits))

        yield start
