"""Condition tokens in numpy against the network's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.tiny import make_tiny_avatar

from being.inference.frames import Drive
from being.inference.renderable import RenderableAvatar
from being.inference.tokens import TokenEncoder


@pytest.mark.parametrize("emotion", [None, 0.7])
def test_tokens_equal_the_network(emotion: float | None) -> None:
    avatar = make_tiny_avatar()
    random = np.random.default_rng(0)
    drives = [
        Drive(
            "tiny",
            random.normal(size=(8, 16, 32)).astype(np.float32),
            frame / 4,
            avatar.motion.head_pose[frame],
            avatar.motion.torso_pose[frame],
            emotion=None if emotion is None or frame == 2 else np.array([emotion], np.float32),
        )
        for frame in range(5)
    ]
    expected = RenderableAvatar(avatar, torch.device("cpu")).tokens(drives).numpy()
    encoder = TokenEncoder(avatar.network)
    found = encoder(drives)
    assert found.shape == expected.shape and found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-5
    assert np.abs(encoder(drives[1:2]) - found[1:2]).max() < 1e-5
    assert np.abs(expected[0] - expected[1]).max() > 1e-2  # there is something to compare
