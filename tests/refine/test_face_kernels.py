"""Faces cut out and laid back by kernels against their twin; without a GPU in Triton's interpreter."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton", reason="Triton is not installed (it comes with PyTorch's CUDA builds)")

from being.inference.frame_batch import FrameBatch
from being.inference.frames import PixelFormat
from being.inference.rendered import FrameInfo
from being.refine.face_kernels import FusedCrops
from being.refine.faces import Faces, PlainCrops
from being.refine.windows import Window

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
HEIGHT, WIDTH, ROWS = 40, 48, 4


def batch_of() -> FrameBatch:
    random = torch.Generator().manual_seed(0)
    alpha = torch.rand(ROWS, HEIGHT, WIDTH, generator=random)
    alpha[:, :6], alpha[:, 20:] = 0, 1
    pixels = torch.rand(ROWS, HEIGHT, WIDTH, 3, generator=random) * alpha[..., None]
    backdrops = torch.randint(0, 256, (2, HEIGHT, WIDTH, 3), dtype=torch.uint8, generator=random)
    depth = 8 + torch.rand(ROWS, HEIGHT, WIDTH, generator=random)
    numbers = np.arange(ROWS)
    info = FrameInfo(("a",) * ROWS, ("b",) * ROWS, numbers, numbers, np.zeros((ROWS, 3, 4), np.float32))
    behind = torch.tensor([1, 0, 1, 0], dtype=torch.int32)
    clear = np.array([False, True, False, False])
    on_device = (part.to(DEVICE) for part in (pixels, alpha))
    return FrameBatch(
        info, *on_device, PixelFormat.PREMULTIPLIED, backdrops.to(DEVICE), behind.to(DEVICE), clear, depth.to(DEVICE)
    )


def faces_of() -> Faces:
    """Three of the rows, in another order; one window at the frame's corner, one box beyond its window."""
    windows = [Window(3, 5, 24, 24), Window(24, 16, 24, 24), Window(0, 0, 24, 24)]
    boxes = [(8.5, 9.0, 20.25, 22.0), (30.0, 20.0, 41.0, 30.5), (-2.0, 3.0, 15.0, 27.0)]
    return Faces([2, 1, 3], boxes, windows, np.array([1, 0.3, 0.75], np.float32))


@pytest.mark.parametrize("depth", [False, True])
def test_faces_are_cut_out_as_by_the_twin(depth: bool) -> None:
    fused, plain = (kind(batch_of(), faces_of(), depth) for kind in (FusedCrops, PlainCrops))
    torch.testing.assert_close(fused.pictures, plain.pictures)
    assert fused.pictures.is_contiguous() and torch.equal(fused.conditions.alpha, plain.conditions.alpha)
    if depth:
        assert fused.conditions.depth is not None and plain.conditions.depth is not None
        assert torch.equal(fused.conditions.depth, plain.conditions.depth)
    else:
        assert fused.conditions.depth is plain.conditions.depth is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_faces_are_laid_back_as_by_the_twin(dtype: torch.dtype) -> None:
    batch, faces = batch_of(), faces_of()
    refined = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(1)).to(DEVICE, dtype)
    made = []
    for kind in (FusedCrops, PlainCrops):
        pixels = batch.pixels.clone()
        kind(batch, faces, False).lay_back(pixels, refined)
        made.append(pixels)
    torch.testing.assert_close(made[0], made[1], atol=1e-6, rtol=1e-5)
    changed = (made[0] != batch.pixels).any(-1)
    assert changed[1:].flatten(1).sum(1).min() > 100 and not changed[0].any(), "who is not among the faces stays"
    changed[2, 5:29, 3:27] = changed[1, 16:40, 24:48] = changed[3, :24, :24] = False
    assert not changed.any()


def test_strided_inputs_are_read_as_they_are() -> None:
    batch, faces = batch_of(), faces_of()
    strided = {
        name: torch.stack([part, torch.zeros_like(part)], -1)[..., 0]
        for name in ("pixels", "alpha", "depth", "backdrops", "backdrop_of")
        if (part := getattr(batch, name)) is not None
    }
    assert not any(part.is_contiguous() for part in strided.values())
    one, other = (FusedCrops(these, faces, True) for these in (batch, replace(batch, **strided)))
    assert torch.equal(one.pictures, other.pictures) and torch.equal(one.conditions.alpha, other.conditions.alpha)
    assert one.conditions.depth is not None and other.conditions.depth is not None
    assert torch.equal(one.conditions.depth, other.conditions.depth)
