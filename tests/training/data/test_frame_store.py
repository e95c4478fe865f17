"""Frames come back as they were put, wherever they are kept."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from being.training.data import frame_store as module
from being.training.data.frame_store import Decoded, KeptFrames, StreamedFrames, best_place, frame_bytes, frame_store

CPU = torch.device("cpu")
FRAMES, WIDTH, HEIGHT = 6, 10, 8


def frames(mattes: bool) -> list[Decoded]:
    rng = np.random.default_rng(0)
    shapes = [(HEIGHT, WIDTH, 3), (HEIGHT, WIDTH), (HEIGHT, WIDTH)]
    parts = [[rng.integers(0, 256, shape, np.uint8) for shape in shapes] for _ in range(FRAMES)]
    return [Decoded(image, marks, alpha if mattes else None) for image, marks, alpha in parts]


@pytest.mark.parametrize("place", ["device", "memory", "folder"])
@pytest.mark.parametrize("mattes", [False, True])
def test_what_is_put_is_taken(place: module.Place, mattes: bool) -> None:
    known = frames(mattes)
    store = frame_store(place, FRAMES, (WIDTH, HEIGHT), mattes, lambda index: known[index].image, CPU)
    for index, frame in reversed(list(enumerate(known))):
        store.put(index, frame)
    wanted = [4, 0, 4]
    images, marks, alphas = store.take(torch.tensor(wanted))
    assert images.dtype == marks.dtype == alphas.dtype == torch.uint8
    np.testing.assert_array_equal(images.numpy(), np.stack([known[index].image for index in wanted]))
    np.testing.assert_array_equal(marks.numpy(), np.stack([known[index].marks for index in wanted]))
    assert len(alphas) == (3 if mattes else 0)
    for index in wanted:
        one = store.one(index)
        for part, truth in zip(one, known[index], strict=True):
            assert (part is None) == (truth is None)
            if part is not None and truth is not None:
                np.testing.assert_array_equal(part, truth)
    if mattes:
        truths = [frame.alpha for index in wanted if (frame := known[index]).alpha is not None]
        np.testing.assert_array_equal(alphas.numpy(), np.stack(truths))
    assert store.on_device == (place != "folder")  # on a CPU main memory is the device's


def test_what_is_expected_is_decoded_once_and_ahead() -> None:
    known, decoded, both = frames(False), [], threading.Event()

    def decode(index: int) -> NDArray[np.uint8]:
        decoded.append(index)
        if len(decoded) == 2:
            both.set()
        return known[index].image

    store = StreamedFrames((WIDTH, HEIGHT), decode, CPU)
    for index, frame in enumerate(known):
        store.put(index, frame)
    assert not decoded
    store.expect([1, 3])
    assert both.wait(20) and sorted(decoded) == [1, 3]
    store.expect([5])  # the step after: what was expected for this one is still there
    store.take(torch.tensor([1, 3]))
    store.take(torch.tensor([5]))
    assert sorted(decoded) == [1, 3, 5]
    store.expect([])
    store.take(torch.tensor([1]))
    assert sorted(decoded) == [1, 1, 3, 5]


def test_frames_are_kept_where_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    minutes = frame_bytes(7500, 512, 512, False)
    assert minutes == 7500 * 512 * 512 * 4
    monkeypatch.setattr(module, "available_memory", lambda: 15 << 30)
    assert best_place(minutes // 2, CPU) == "device"
    assert best_place(minutes, CPU) == "folder"
    here = frame_store("auto", 3, (WIDTH, HEIGHT), False, lambda index: np.zeros((1, 1, 3), np.uint8), CPU)
    assert isinstance(here, KeptFrames)
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (23 << 30, 24 << 30))
    assert best_place(minutes, gpu) == "device"
    assert best_place(frame_bytes(7500, 1080, 1080, False), gpu) == "folder"
    monkeypatch.setattr(module, "available_memory", lambda: 128 << 30)
    assert best_place(frame_bytes(7500, 1080, 1080, False), gpu) == "memory"
