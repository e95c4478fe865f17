"""Backdrops side by side in a device's memory; the CPU is a device too."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

import numpy as np

from being.inference.backends import gpu_backdrops
from being.inference.backends.gpu_backdrops import DeviceBackdrops

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pictures(count: int) -> list[np.ndarray]:
    made = [np.full((4, 6, 3), index, np.uint8) for index in range(count)]
    for picture in made:
        picture.flags.writeable = False
    return made


def test_each_frame_finds_its_own() -> None:
    one, two, three = pictures(3)
    backdrops = DeviceBackdrops(DEVICE)
    held, which = backdrops.find([two, one, two])
    assert [int(held[place].float().mean()) for place in which] == [1, 0, 1] and which[0] == which[2]
    held, which = backdrops.find([three, two])
    assert [int(held[place].float().mean()) for place in which] == [2, 1]


def test_what_a_batch_was_given_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there is no room for all: the least recently used leave, into another tensor."""
    monkeypatch.setattr(gpu_backdrops, "MOST_BYTES", 5 * 72)
    made = pictures(20)
    backdrops = DeviceBackdrops(DEVICE)
    given = []
    for start in (0, 2, 4, 1, 6, 8, 0, 10):
        wanted = made[start : start + 4]
        held, which = backdrops.find(wanted)
        assert len(held) <= 5
        given.append((start, held, which))
    for start, held, which in given:
        assert [int(held[place].float().mean()) for place in which] == [start + index for index in range(4)]


def test_a_single_batch_may_need_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_backdrops, "MOST_BYTES", 72)
    made = pictures(7)
    held, which = DeviceBackdrops(DEVICE).find(made)
    assert [int(held[place].float().mean()) for place in which] == list(range(7))
