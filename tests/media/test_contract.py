"""What writers accept, and how they refuse the rest."""

from __future__ import annotations

import numpy as np
import pytest

from being.errors import InputError
from being.media import StreamFormat


def test_wrong_pictures_and_sound_are_named() -> None:
    format = StreamFormat(64, 48)
    with pytest.raises(ValueError, match=r"\(48, 60, 3\)"):
        format.kind_of(np.zeros((48, 60, 3), np.uint8))
    with pytest.raises(ValueError, match="float"):
        format.kind_of(np.zeros((48, 64, 3), np.float32))
    with pytest.raises(InputError, match="5000"):
        StreamFormat(5000, 48)
