"""From a drawn frame to its pixels."""

from __future__ import annotations

import numpy as np
import pytest

from being.errors import BeingError
from being.inference.frames import FrameRecord
from being.media.media_sink import picture_of, size_of


def record_of(image: np.ndarray | None, alpha: np.ndarray | None = None, error: str | None = None) -> FrameRecord:
    return FrameRecord(7, 0, image, alpha, None, None, np.eye(3, 4, dtype=np.float32), error)


def test_pictures_take_their_alpha_along_and_errors_are_raised() -> None:
    record = record_of(np.zeros((48, 64, 3), np.uint8), np.full((48, 64), 100, np.uint8))
    assert picture_of(record, alpha=True).shape == (48, 64, 4)
    assert picture_of(record).shape == (48, 64, 3)
    with pytest.raises(BeingError, match="no such avatar"):
        picture_of(record_of(None, error="no such avatar"))


def test_sizes_of_all_forms() -> None:
    for shape in ((48, 64, 3), (48, 64, 4), (72, 64)):
        assert size_of(np.zeros(shape, np.uint8)) == (64, 48)
