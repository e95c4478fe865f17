"""Crops cut out of frames of any format, and what was changed of them added back, in plain PyTorch.

Live faces on a GPU go by kernels (`being.refine.face_kernels`). Where these do not apply there, each launch costs the
host as much as a small crop costs the GPU, and numbers that are copied from ordinary memory make it wait for all that
was launched before: so where the crops lie goes there once, from pinned memory, and crops of one size are gathered and
written together. On a CPU they go one by one, which takes less time there, as do resampled ones, of faces larger than
every size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from being.refine.windows import Window


def sent(values: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """An array on the device. The host does not wait for it."""
    there = torch.from_numpy(np.ascontiguousarray(values))
    return there.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else there.to(device)


class CropPlaces:
    """Where N crops of one size S lie: of which rows of a batch, and in which windows of these frames.

    together : whether they are gathered and written at once; else one by one, to the same bits.
    """

    def __init__(self, rows: Sequence[int], windows: Sequence[Window], device: torch.device) -> None:
        self._list, self._windows, self.size = list(rows), list(windows), windows[0].size
        self.together = device.type != "cpu" and not any(window.resampled for window in windows)
        where = np.array([(row, w.y, w.x) for row, w in zip(rows, windows, strict=True)], np.int64)
        self.rows, self._top, self._left = sent(where, device).unbind(1)
        self._line = torch.arange(self.size, device=device)

    def cut(self, frames: Tensor, rows: Tensor | None = None) -> Tensor:
        """The windows of frames (B, H, W, C), bytes or float32 -> (N, C, S, S) float32; bytes become [0, 1].

        rows : (N,) in place of the batch's own.
        """
        if not self.together:
            stack = self._cut_each(frames, self._list if rows is None else rows.tolist())
        else:
            found = frames.reshape(-1, frames.shape[-1]).index_select(0, self._pixels(frames, rows))
            stack = found.unflatten(0, (-1, self.size, self.size)).permute(0, 3, 1, 2).float()
        return stack / 255 if frames.dtype == torch.uint8 else stack

    def add(self, pixels: Tensor, change: Tensor) -> None:
        """Add changes (N, C, S, S) to the windows of contiguous pixels (B, H, W, C) in place, in their own numbers."""
        if not self.together:
            self._add_each(pixels, change)
            return
        flat, at = pixels.view(-1, pixels.shape[-1]), self._pixels(pixels, None)
        here = flat.index_select(0, at)
        flat.index_copy_(0, at, _changed(here, change.permute(0, 2, 3, 1).reshape(here.shape)))

    def _pixels(self, frames: Tensor, rows: Tensor | None) -> Tensor:
        """(N S S,) numbers of the crops' pixels among those of all frames."""
        height, width = frames.shape[1:3]
        row = self.rows if rows is None else rows
        lines = (row * height + self._top)[:, None] + self._line
        return ((lines * width + self._left[:, None])[:, :, None] + self._line).flatten()

    def _cut_each(self, frames: Tensor, rows: Sequence[int]) -> Tensor:
        parts = (
            frames[row, w.y : w.y + w.side, w.x : w.x + w.side] for row, w in zip(rows, self._windows, strict=True)
        )
        return torch.stack([_resampled(part.permute(2, 0, 1)[None].float(), self.size)[0] for part in parts])

    def _add_each(self, pixels: Tensor, change: Tensor) -> None:
        for row, window, part in zip(self._list, self._windows, change.split(1), strict=True):
            here = pixels[row, window.y : window.y + window.side, window.x : window.x + window.side]
            here.copy_(_changed(here, _resampled(part, window.side)[0].permute(1, 2, 0)))


def _changed(here: Tensor, change: Tensor) -> Tensor:
    """Pixels, bytes or float32, and what is added to them in units of [0, 1]."""
    return (here + 255 * change).clamp(0, 255).round().to(here.dtype) if here.dtype == torch.uint8 else here + change


def _resampled(picture: Tensor, size: int) -> Tensor:
    """(1, C, A, A) -> (1, C, size, size)."""
    if picture.shape[-1] == size:
        return picture
    return F.interpolate(picture, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
