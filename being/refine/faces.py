"""The faces of one crop size: cut out of a batch over their backgrounds, and laid back once they are refined.

On a GPU both are one Triton kernel each (`being.refine.face_kernels`). This is their twin in plain PyTorch, and what
runs elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from being.inference.frame_batch import FrameBatch
from being.inference.frames import FaceBox, PixelFormat
from being.refine.contract import Conditions
from being.refine.crops import CropPlaces, sent
from being.refine.windows import Window, face_masks


@dataclass(frozen=True, eq=False)
class Faces:
    """N faces of a batch.

    Attributes
    ----------
    rows : of the batch. boxes : of the faces, in the frames' pixels. windows : what is cut out, all of one size S.
    shares : (N,) float32 in [0, 1], how much of the refined picture counts.
    """

    rows: Sequence[int]
    boxes: Sequence[FaceBox]
    windows: Sequence[Window]
    shares: npt.NDArray[np.float32]


class Crops(Protocol):
    """Crops of a batch.

    Attributes
    ----------
    pictures : (N, 3, S, S) float32 in [0, 1], over their backgrounds.
    conditions : beside them; depth where it is wanted and the batch has it.
    """

    pictures: Tensor
    conditions: Conditions

    def lay_back(self, pixels: Tensor, refined: Tensor) -> None:
        """Change contiguous pixels (B, H, W, 3) of the batch's format by what refined crops (N, 3, S, S) changed."""
        ...


class PlainCrops:
    """See `Crops`; of a batch in any format."""

    def __init__(self, batch: FrameBatch, faces: Faces, depth: bool) -> None:
        self._faces, self._device = faces, batch.pixels.device
        self._premultiplied = batch.pixel_format is PixelFormat.PREMULTIPLIED
        self._places = CropPlaces(faces.rows, faces.windows, self._device)
        self.pictures, alpha = _pictures(batch, faces.rows, self._places)
        far = self._places.cut(batch.depth[..., None]) if depth and batch.depth is not None else None
        self.conditions = Conditions(alpha, far)

    def lay_back(self, pixels: Tensor, refined: Tensor) -> None:
        """See `Crops`."""
        # A mask is the product of two lines, and so is its share.
        masks = face_masks(self._faces.boxes, self._faces.windows) * np.sqrt(self._faces.shares)[:, None, None]
        weights = sent(masks, self._device)
        change = (refined.float() - self.pictures) * (weights[:, None, 1, :, None] * weights[:, None, 0, None, :])
        if self._premultiplied:
            change = change * self.conditions.alpha
        self._places.add(pixels, change)


def _pictures(batch: FrameBatch, rows: Sequence[int], places: CropPlaces) -> tuple[Tensor, Tensor]:
    """Crops (N, 3, S, S) over their backgrounds and coverage (N, 1, S, S), float32 in [0, 1]."""
    alpha, crops = places.cut(batch.alpha[..., None]), places.cut(batch.pixels)
    if batch.pixel_format is not PixelFormat.PREMULTIPLIED:
        return crops, alpha
    behind = batch.backdrop_of.long().index_select(0, places.rows)
    over = crops + (1 - alpha) * places.cut(batch.backdrops, behind)
    clear = batch.clear[list(rows)]
    if clear.any():
        nothing = sent(clear, over.device)[:, None, None, None]
        over = torch.where(nothing, crops / alpha.clamp_min(1 / 255), over)
    return over, alpha
