"""Faces cut out of a batch: by kernels where they work and know such faces, by their twin elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from being.inference.frame_batch import FrameBatch
from being.inference.frames import PixelFormat
from being.inference.rendered import FrameInfo
from being.kernel_trial import KernelTrial
from being.refine.faces import Crops, Faces, PlainCrops
from being.refine.windows import Window

CutOut = Callable[[FrameBatch, Faces, bool], Crops]


def crops_of(batch: FrameBatch, faces: Faces, depth: bool) -> Crops:
    """Cut faces out. depth : whether it is wanted beside them."""
    fusable = batch.pixel_format is PixelFormat.PREMULTIPLIED and not any(one.resampled for one in faces.windows)
    fused = fused_crops(batch.pixels.device) if fusable else None
    return (fused or PlainCrops)(batch, faces, depth)


def make_ready(device: torch.device) -> None:
    """Compile what is used on a device, so that no live frame waits for it."""
    fused_crops(torch.empty(0, device=device).device)  # with its number


def fused_crops(device: torch.device) -> CutOut | None:
    """What cuts out by kernels; None where there is no GPU, Triton does not work on it, or memory is short just now."""
    try:
        return _kernels.on(device)
    except torch.OutOfMemoryError:  # these frames are cut out by the twin, the next may find some
        return None


def _tried_out(device: torch.device) -> CutOut:
    from being.refine.face_kernels import FusedCrops

    for depth in (False, True):
        batch, ones = _next_to_nothing(device), np.ones(1, np.float32)
        crops = FusedCrops(batch, Faces([0], [(2.0, 2.0, 6.0, 6.0)], [Window(0, 0, 8, 8)], ones), depth)
        crops.lay_back(batch.pixels, crops.pictures)
    torch.cuda.synchronize(device)
    return FusedCrops


def _next_to_nothing(device: torch.device) -> FrameBatch:
    """One frame to try kernels out on."""
    empty = np.zeros(1, np.int64)
    info = FrameInfo(("",), ("",), empty, empty, np.zeros((1, 3, 4), np.float32))
    plane, colours = torch.zeros(1, 8, 8, device=device), torch.zeros(1, 8, 8, 3, device=device)
    behind = torch.zeros(1, dtype=torch.int32, device=device)
    return FrameBatch(info, colours, plane, PixelFormat.PREMULTIPLIED, colours.byte(), behind, np.zeros(1, bool), plane)


_kernels = KernelTrial(_tried_out, "faces are cut out without kernels, slower")
