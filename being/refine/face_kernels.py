"""Faces cut out of frames and laid back by one kernel each; `being.refine.faces` says what they compute.

Every operation of PyTorch gives the interpreter away and waits to have it again, which takes long beside the threads
of a busy renderer: so these two stand for some seventy.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import triton
import triton.language as tl
from torch import Tensor

from being.inference.frame_batch import FrameBatch
from being.refine.contract import Conditions
from being.refine.crops import sent
from being.refine.faces import Faces
from being.refine.windows import mask_ends

PIXELS = 256  # of one program
# What is told of a face: row, top, left, whether nothing stands behind; left, right, upper and lower end of its box in
# the crop, over how many pixels the mask falls off, its share.
COLUMNS = 10


@triton.jit(do_not_specialize=["height", "width", "side"])
def _cut(
    pixels, alpha, depth, backdrops, backdrop_of, faces, pictures, covered, far, height, width, side,
    COLUMNS: tl.constexpr, DEPTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    face = tl.program_id(1)
    area = side * side
    inside = at < area
    own = faces + COLUMNS * face
    row = tl.load(own).to(tl.int64)
    place = (tl.load(own + 1).to(tl.int32) + at // side) * width + tl.load(own + 2).to(tl.int32) + at % side
    clear = tl.load(own + 3) > 0
    here = row * height * width + place
    behind = tl.load(backdrop_of + row).to(tl.int64) * height * width + place
    coverage = tl.load(alpha + here, mask=inside, other=0)
    answer = face * area + at
    for channel in tl.static_range(3):
        value = tl.load(pixels + 3 * here + channel, mask=inside, other=0)
        back = tl.load(backdrops + 3 * behind + channel, mask=inside, other=0).to(tl.float32) / 255
        straight = value / tl.maximum(coverage, 1 / 255)
        over = tl.where(clear, straight, value + (1 - coverage) * back)
        tl.store(pictures + (3 * face + channel) * area + at, over, mask=inside)
    tl.store(covered + answer, coverage, mask=inside)
    if DEPTH:
        tl.store(far + answer, tl.load(depth + here, mask=inside, other=0), mask=inside)


@triton.jit(do_not_specialize=["height", "width", "side"])
def _lay_back(
    pixels, pictures, covered, refined, faces, height, width, side,
    COLUMNS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    face = tl.program_id(1)
    area = side * side
    inside = at < area
    own = faces + COLUMNS * face
    y, x = at // side, at % side
    fall = tl.load(own + 8)
    across = _mask(x, tl.load(own + 4), tl.load(own + 5), fall)
    down = _mask(y, tl.load(own + 6), tl.load(own + 7), fall)
    coverage = tl.load(covered + face * area + at, mask=inside, other=0)
    weight = across * down * tl.load(own + 9) * coverage
    row = tl.load(own).to(tl.int64)
    here = (row * height + tl.load(own + 1).to(tl.int32) + y) * width + tl.load(own + 2).to(tl.int32) + x
    for channel in tl.static_range(3):
        place = (3 * face + channel) * area + at
        made = tl.load(refined + place, mask=inside, other=0).to(tl.float32)
        change = (made - tl.load(pictures + place, mask=inside, other=0)) * weight
        value = tl.load(pixels + 3 * here + channel, mask=inside, other=0)
        tl.store(pixels + 3 * here + channel, value + change, mask=inside)


@triton.jit
def _mask(at, low, high, fall):
    """1 between the ends, falling off smoothly to 0."""
    middle = at.to(tl.float32) + 0.5
    inside = tl.minimum(tl.maximum(1 - tl.maximum(low - middle, middle - high) / fall, 0.0), 1.0)
    return inside * inside * (3 - 2 * inside)


class FusedCrops:
    """See `being.refine.faces.PlainCrops`. Of a PREMULTIPLIED batch, none of them resampled."""

    def __init__(self, batch: FrameBatch, faces: Faces, depth: bool) -> None:
        self._side, self._count = faces.windows[0].size, len(faces.rows)
        device, (height, width) = batch.pixels.device, batch.alpha.shape[1:]
        self._faces = sent(_told(batch, faces), device)
        self.pictures, alpha = (torch.empty(self._count, c, self._side, self._side, device=device) for c in (3, 1))
        far = torch.empty_like(alpha) if depth and batch.depth is not None else None
        _cut[self._grid](
            batch.pixels.contiguous(), batch.alpha.contiguous(),
            batch.alpha if far is None or batch.depth is None else batch.depth.contiguous(),
            batch.backdrops.contiguous(), batch.backdrop_of.contiguous(), self._faces,
            self.pictures, alpha, alpha if far is None else far, height, width, self._side,
            COLUMNS=COLUMNS, DEPTH=far is not None, BLOCK=PIXELS,
        )  # fmt: skip
        self.conditions = Conditions(alpha, far)

    def lay_back(self, pixels: Tensor, refined: Tensor) -> None:
        """See `PlainCrops`."""
        assert pixels.is_contiguous() and pixels.dtype == torch.float32
        height, width = pixels.shape[1:3]
        _lay_back[self._grid](
            pixels, self.pictures, self.conditions.alpha, refined.contiguous(), self._faces, height, width, self._side,
            COLUMNS=COLUMNS, BLOCK=PIXELS,
        )  # fmt: skip

    @property
    def _grid(self) -> tuple[int, int]:
        return triton.cdiv(self._side * self._side, PIXELS), self._count


def _told(batch: FrameBatch, faces: Faces) -> npt.NDArray[np.float32]:
    """(N, COLUMNS), as the kernels read it."""
    rows, windows = list(faces.rows), faces.windows
    low, high, fall = mask_ends(faces.boxes, windows)
    places = np.array([(row, window.y, window.x) for row, window in zip(rows, windows, strict=True)])
    ends = np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], 1)
    columns = (places, batch.clear[rows][:, None], ends, fall[:, None], faces.shares[:, None])
    return np.concatenate(columns, 1, dtype=np.float32, casting="unsafe")
