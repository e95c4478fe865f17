"""The frame stage around a refiner: cut the faces out, refine those of one size together, blend them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from being.inference.frame_batch import FrameBatch
from being.inference.frames import Drive, Extras, FaceBox, PixelFormat
from being.refine.contract import Conditions, CropRows, Refiner, seed_of
from being.refine.crops import CropPlaces, sent
from being.refine.windows import Window, face_masks, window_of


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
        info, by_size = batch.info, dict[int, list[tuple[int, FaceBox, Window]]]()
        if info.face_boxes is None:
            return batch
        known = {avatar: self.refiner.knows(avatar) for avatar in set(info.avatars)}
        wanted = (info.strengths > 0) & ~np.isnan(info.face_boxes[:, 0]) & [known[avatar] for avatar in info.avatars]
        for row in np.flatnonzero(wanted).tolist():
            box = tuple(info.face_boxes[row].tolist())
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
        places = CropPlaces(rows, windows, pixels.device)
        crops, alpha = _pictures(batch, rows, places)
        depth = None
        if batch.depth is not None and Extras.DEPTH in self.refiner.needs:
            depth = places.cut(batch.depth[..., None])
        refined = self.refiner.refine(crops, Conditions(alpha, depth), crop_rows(batch, rows, windows))
        weights = sent(face_masks(boxes, windows) * self._shares(batch, rows)[:, None, None], crops.device)
        change = (refined.float() - crops) * (weights[:, None, 1, :, None] * weights[:, None, 0, None, :])
        if batch.pixel_format is PixelFormat.PREMULTIPLIED:
            change = change * alpha
        places.add(pixels, change)

    def _shares(self, batch: FrameBatch, rows: Sequence[int]) -> np.ndarray:
        """(N,) square roots of how much of the refined picture counts: a mask is the product of two lines."""
        strengths = batch.info.strengths[list(rows)]
        return np.sqrt(np.clip(strengths / self.refiner.fade, 0, 1)).astype(np.float32)


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
