"""A real, tiny clip of the synthetic person, shared by the training tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from being.synthetic import generate

SECONDS, SIZE = 1.6, 96


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(
        tmp_path_factory.mktemp("footage") / "person", seconds=SECONDS, seed=3, size=(SIZE, SIZE), workers=2
    )
