"""Crops of the face as the live refiner cuts them out, and what it is told of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from being.avatar.folder import Avatar
from being.refine.contract import CropRows, seed_of
from being.refine.crops import CropPlaces
from being.refine.streamdiffusion.faces import face_plane
from being.refine.streamdiffusion.noise import FacePlane
from being.refine.streamdiffusion.told import columns_of
from being.refine.windows import Window, face_masks, window_of
from being.training.refiner.gathering import FacePlaces
from being.training.refiner.pairs import EXPOSURE, Crops, Pairs, before_colours


@dataclass(frozen=True)
class LiveFace:
    """What the refiner knows of an avatar live, beside its frames.

    plane : see `FacePlane`. seed : of the noise. corner : x, y of the pairs' square in the frames. frame_size : width
    and height of these.
    """

    avatar: str
    plane: FacePlane
    corner: tuple[int, int]
    frame_size: tuple[int, int]

    @classmethod
    def of(cls, avatar: Avatar, places: FacePlaces) -> LiveFace:
        manifest = avatar.manifest
        return cls(avatar.id, face_plane(avatar), places.square[:2], (manifest.width, manifest.height))

    @property
    def seed(self) -> int:
        """Where its noise starts from."""
        return seed_of(self.avatar)

    def told(
        self, head_poses: NDArray[np.float32], windows: NDArray[np.float32], places: Sequence[int], size: int
    ) -> Tensor:
        """(N, 15) of `columns_of`; the noise's texture is the bank's first.

        head_poses : (N, 3, 4). windows : (N, 4) in the pairs' square. places : of the rows' timesteps.
        """
        count = len(places)
        rows = CropRows(
            (self.avatar,) * count,
            ("",) * count,
            np.zeros(count, np.int64),
            np.zeros(count, np.int64),
            head_poses,
            windows + np.array(self.corner * 2, np.float32),
            self.frame_size,
            np.ones(count, np.float32),
            np.full(count, self.seed, np.int64),
        )
        return torch.from_numpy(columns_of(rows, [self.plane] * count, [0] * count, places, size))


@dataclass(frozen=True, eq=False)
class FaceCrops:
    """2 B whole crops as they are refined live: all first frames of pairs, then all second ones.

    crops : see `Crops`. told : (2 B, 15), see `columns_of`. masks : (2 B, 1, S, S) how much of the refined picture is
    laid over the render. depth : (2 B, 1, S, S) decimetres.
    """

    crops: Crops
    told: Tensor
    masks: Tensor
    depth: Tensor


class FaceCropSampler:
    """Draws pairs of neighbouring frames, all of one size a time, sizes as often as the footage has them.

    Some stand before another background, and the light varies a little, as in `CropSampler`.

    Parameters
    ----------
    sizes : of crops, pixels. timesteps : how many there are; each pair gets one of them.
    """

    def __init__(self, pairs: Pairs, face: LiveFace, sizes: Sequence[int], timesteps: int, seed: int) -> None:
        self.pairs, self.face, self.timesteps = pairs, face, timesteps
        self.random = torch.Generator().manual_seed(seed)
        side = pairs.renders.shape[1]
        self.boxes = pairs.boxes.numpy()
        self.windows: list[Window] = [window_of(tuple(box), side, side, sizes) for box in self.boxes.tolist()]
        found = torch.tensor([window.size for window in self.windows])
        self._by_size = {int(size): torch.nonzero(found == size).flatten() for size in found.unique()}
        follows = (pairs.frames[1:] - pairs.frames[:-1] == 1) & (found[1:] == found[:-1])
        self._follows = torch.cat([follows, torch.zeros(1, dtype=torch.bool)])

    def draw(self, count: int) -> FaceCrops:
        """`count` pairs of neighbouring frames (both the same where a frame has no neighbour of its size)."""
        shares = torch.tensor([float(len(rows)) for rows in self._by_size.values()])
        size = list(self._by_size)[int(torch.multinomial(shares, 1, generator=self.random))]
        among = self._by_size[size]
        first = among[torch.randint(len(among), (count,), generator=self.random)]
        follows = self._follows[first]
        rows = torch.cat([first, first + follows.long()])
        places = torch.randint(self.timesteps, (count,), generator=self.random).repeat(2)
        windows = [self.windows[int(row)] for row in rows]
        device = self.pairs.renders.device
        crops = CropPlaces(rows.tolist(), windows, device)
        render, truth = crops.cut(self.pairs.renders), crops.cut(self.pairs.truth)
        alpha = crops.cut(self.pairs.alpha[..., None])
        plate = crops.cut(self.pairs.plate[None], torch.zeros_like(crops.rows))
        render, truth = before_colours(render, truth, alpha, plate, self.random)
        gain = (1 + EXPOSURE * torch.randn(count, generator=self.random)).repeat(2)[:, None, None, None].to(device)
        render, truth = ((gain * part).clamp(0, 1) for part in (render, truth))
        lines = torch.from_numpy(face_masks([tuple(self.boxes[int(row)]) for row in rows], windows)).to(device)
        masks = lines[:, None, 1, :, None] * lines[:, None, 0, None, :]
        squares = np.array([(w.x, w.y, w.x + w.side, w.y + w.side) for w in windows], np.float32)
        told = self.face.told(self.pairs.head_poses[rows].numpy(), squares, places.tolist(), size)
        depth = crops.cut(self.pairs.depth[..., None])
        return FaceCrops(Crops(render, truth, alpha, follows.to(device)), told.to(device), masks, depth)
