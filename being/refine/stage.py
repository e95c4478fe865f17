"""The frame stage around a refiner: cut the faces out, refine those of one size together, blend them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from being.inference.frame_batch import FrameBatch
from being.inference.frames import Drive, Extras, FaceBox
from being.refine.contract import CropRows, Refiner, seed_of
from being.refine.cutting import crops_of
from being.refine.faces import Faces
from being.refine.windows import Window, window_of


class RefineStage:
    """Refines the faces of the frames that ask for it; all others, and all other pixels, stay bit for bit.

    The frames keep the pixel format they came in, so that what comes after (planes, backgrounds, transparency) costs
    and does the same as without.

    Parameters
    ----------
    refiner : see `being.refine.contract`.
    """

    def __init__(self, refiner: Refiner) -> None:
        self.refiner = refiner
        self.needs = Extras.FACE_BOX | refiner.needs

    def concerns(self, drive: Drive) -> bool:
        """Whether a frame is to be changed at all: strength above 0, of an avatar the refiner knows."""
        return drive.refine > 0 and self.refiner.knows(drive.avatar)

    def prepare(self, avatar: str) -> None:
        """Load what the avatar needs."""
        self.refiner.prepare(avatar)

    def forget(self, avatar: str) -> None:
        """Let go of it again."""
        self.refiner.forget(avatar)

    def __call__(self, batch: FrameBatch) -> FrameBatch:
        """Frames whose face is out of sight pass as they are."""
        height, width = batch.alpha.shape[1:]
        info = batch.info
        by_size: dict[int, list[tuple[int, FaceBox, Window]]] = {}
        known = {avatar for avatar in set(info.avatars) if self.refiner.knows(avatar)}
        for row in np.flatnonzero(info.strengths > 0).tolist():
            if info.avatars[row] in known and (box := info.face_box(row)) is not None:
                window = window_of(box, width, height, self.refiner.sizes)
                by_size.setdefault(window.size, []).append((row, box, window))
        if not by_size:
            return batch
        pixels = batch.pixels.clone(memory_format=torch.contiguous_format)
        for faces in by_size.values():
            self._refine(batch, pixels, *zip(*faces, strict=True))
        return replace(batch, pixels=pixels)

    def _refine(
        self,
        batch: FrameBatch,
        pixels: Tensor,
        rows: Sequence[int],
        boxes: Sequence[FaceBox],
        windows: Sequence[Window],
    ) -> None:
        """Refine faces of one crop size, and write them into `pixels`."""
        shares = np.clip(batch.info.strengths[list(rows)] / self.refiner.fade, 0, 1).astype(np.float32)
        faces = Faces(rows, boxes, windows, shares)
        crops = crops_of(batch, faces, Extras.DEPTH in self.refiner.needs)
        refined = self.refiner.refine(crops.pictures, crops.conditions, crop_rows(batch, rows, windows))
        crops.lay_back(pixels, refined)


def crop_rows(batch: FrameBatch, rows: Sequence[int], windows: Sequence[Window]) -> CropRows:
    """Whose crops these are."""
    info = batch.info.take(rows)
    return CropRows(
        info.avatars,
        info.sessions,
        info.generations,
        info.indices,
        info.head_poses,
        np.array([(w.x, w.y, w.x + w.side, w.y + w.side) for w in windows], np.float32),
        (batch.alpha.shape[2], batch.alpha.shape[1]),
        info.strengths,
        np.array([seed_of(avatar) for avatar in info.avatars], np.int64),
    )
