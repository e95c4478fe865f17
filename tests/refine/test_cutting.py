"""Which faces are cut out by kernels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from being.inference.frame_batch import FrameBatch
from being.inference.frames import PixelFormat
from being.inference.rendered import FrameInfo
from being.kernel_trial import KernelTrial
from being.refine import cutting
from being.refine.cutting import crops_of, fused_crops
from being.refine.faces import Faces, PlainCrops
from being.refine.windows import Window


class Told(PlainCrops):
    """In place of the kernels."""


def batch_of(pixel_format: PixelFormat) -> FrameBatch:
    pixels, plane = torch.rand(1, 32, 32, 3), torch.rand(1, 32, 32)
    if pixel_format is PixelFormat.RGB:
        pixels, plane = (255 * pixels).byte(), (255 * plane).byte()
    numbers = np.zeros(1, np.int64)
    info = FrameInfo(("a",), ("b",), numbers, numbers, np.zeros((1, 3, 4), np.float32))
    behind, clear = torch.zeros(1, dtype=torch.int32), np.zeros(1, bool)
    return FrameBatch(info, pixels, plane, pixel_format, torch.zeros(1, 32, 32, 3, dtype=torch.uint8), behind, clear)


@pytest.mark.parametrize(
    ("pixel_format", "side", "fused"),
    [
        (PixelFormat.PREMULTIPLIED, 16, True),
        (PixelFormat.PREMULTIPLIED, 20, False),  # resampled
        (PixelFormat.COMPOSITED, 16, False),
        (PixelFormat.RGB, 16, False),
    ],
)
def test_kernels_cut_what_they_know(
    pixel_format: PixelFormat, side: int, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "fused_crops", lambda device: Told)
    faces = Faces([0], [(4.0, 4.0, 12.0, 12.0)], [Window(1, 2, side, 16)], np.ones(1, np.float32))
    assert type(crops_of(batch_of(pixel_format), faces, False)) is (Told if fused else PlainCrops)


def test_there_are_none_without_a_gpu() -> None:
    assert fused_crops(torch.device("cpu")) is None


def test_memory_that_is_short_once_leaves_kernels_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [torch.OutOfMemoryError()]

    def made(device: torch.device) -> type[Told]:
        if errors:
            raise errors.pop()
        return Told

    monkeypatch.setattr(cutting, "_kernels", KernelTrial(made, "slower"))
    gpu = torch.device("cuda", 0)
    assert fused_crops(gpu) is None and fused_crops(gpu) is Told
