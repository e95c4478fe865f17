"""Embeddings of faces: what is missing is said in one line, and distances are those of a frame's own two pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from being.errors import FormatError, InputError, MissingDependencyError
from being.training.refiner.identity import FaceEmbedding, identity_of


def test_a_missing_file_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        FaceEmbedding(tmp_path / "none.dat")


def test_a_missing_package_is_one_line_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    (tmp_path / "network.dat").write_bytes(b"")
    with pytest.raises(MissingDependencyError, match="dlib") as caught:
        FaceEmbedding(tmp_path / "network.dat")
    assert "pip install dlib-bin" in str(caught.value)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("dlib", reason="needs dlib-bin")
    (tmp_path / "network.dat").write_bytes(b"no network")
    with pytest.raises(FormatError, match=r"network\.dat"):
        FaceEmbedding(tmp_path / "network.dat")


def test_distances_are_of_each_frames_own_two_pictures() -> None:
    marks = np.arange(2, dtype=np.float32)[:, None, None] * np.ones((2, 68, 2), np.float32)
    asked = []

    def colour(pictures: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        asked.append(landmarks)
        return pictures.astype(np.float32).mean((1, 2))

    made = torch.zeros(2, 4, 4, 3, dtype=torch.uint8)
    truth = made.clone()
    truth[1, ..., 0], truth[1, ..., 1] = 3, 4
    np.testing.assert_allclose(identity_of(colour, marks)(made, truth), [0, 5])
    assert all(np.array_equal(one, marks) for one in asked), "both pictures by the film's landmarks"
