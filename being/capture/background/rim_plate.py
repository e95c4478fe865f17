"""What stands behind the person while it is cut out: by it the rim of the person mask is decided.

Of a camera that stands still: the median of the key frames. Of one that moves: their backgrounds laid together, and
laid under every frame again where its own background is found there; where it is not, nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from being.capture.background.camera_motion import background_motion
from being.capture.background.plate import fill_unseen, grown_mask, masked_median
from being.capture.background.stabilise import Features, Matrix, features_of, homography, moved, to_the_middle

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]

UNSURE = 0.15  # share of the frames that saw a pixel, from which on it counts
SURE = 0.35  # how much more of them is enough
LEAST_LAID = 0.5  # share of the key frames that must be laid together
WIDEST = 2.0  # times a picture's side that the place laid together may measure


@dataclass(frozen=True)
class Behind:
    """Lab float32 (h, w, 3), its spread over time (h, w), grey levels, and how far to trust it (h, w) in [0, 1]."""

    plate: NDArray[np.float32]
    spread: NDArray[np.float32]
    trust: NDArray[np.float32]


@dataclass(frozen=True)
class StillPlate:
    """The same behind every frame."""

    behind: Behind

    def under(self, small: Picture, person: NDArray[np.float32]) -> Behind | None:
        """What is behind a frame RGB (h, w, 3), of which `person` (h, w) is the person's share."""
        return self.behind


@dataclass(frozen=True)
class WanderingPlate:
    """A place larger than a picture, of which every frame shows a part. features : of the place."""

    behind: Behind
    features: Features

    def under(self, small: Picture, person: NDArray[np.float32]) -> Behind | None:
        """What is behind a frame RGB (h, w, 3), of which `person` (h, w) is the person's share; None: not found."""
        there = homography(features_of(small, grown_mask((person > 0.5).astype(np.uint8))), self.features)
        if there is None:
            return None
        whole = np.dstack([self.behind.plate, self.behind.spread, self.behind.trust])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        part = cv2.warpPerspective(whole, there, small.shape[1::-1], flags=flags).astype(np.float32)
        return Behind(np.ascontiguousarray(part[..., :3]), part[..., 3], part[..., 4])


def rim_plate(
    smalls: Sequence[Picture], labs: Sequence[Picture], labels: Sequence[Picture]
) -> StillPlate | WanderingPlate | None:
    """By key frames RGB (h, w, 3), the same in Lab, their first labels (h, w); None where they show no one place."""
    if len(labs) < 2:
        return None
    free = np.stack([~grown_mask(each) for each in labels])
    if background_motion(smalls, labels).still:
        behind = _behind(np.stack(labs), free, np.full(free.shape[1:], len(labs)))
        return None if behind is None else StillPlate(behind)
    side = min(labels[0].shape)
    onto = to_the_middle([features_of(small, ~each) for small, each in zip(smalls, free, strict=True)], side)
    laid = [(index, matrix) for index, matrix in enumerate(onto) if matrix is not None]
    if len(laid) < max(2, LEAST_LAID * len(labs)):
        return None
    height, width = labels[0].shape
    offset, size = _place([matrix for _, matrix in laid], width, height)
    pictures, colours, seen, covered = [], [], [], np.zeros(size[::-1], np.int64)
    for index, matrix in laid:
        at = matrix @ offset
        pictures.append(_warped(smalls[index], at, size, cv2.INTER_LINEAR))
        colours.append(_warped(labs[index], at, size, cv2.INTER_LINEAR))
        shown = np.zeros(labels[0].shape, np.uint8)
        shown[1:-1, 1:-1] = 1 + free[index][1:-1, 1:-1]
        spread_out = _warped(shown, at, size, cv2.INTER_NEAREST)
        covered += spread_out > 0
        seen.append(spread_out > 1)
    behind = _behind(np.stack(colours), np.stack(seen), covered)
    if behind is None:
        return None
    place, _ = masked_median(np.stack(pictures), np.stack(seen))
    return WanderingPlate(behind, features_of(place, np.stack(seen).sum(0) < 2))


def _behind(pictures: Picture, free: Mask, shown: NDArray[np.int64]) -> Behind | None:
    """Median of what is free (N, h, w) of Lab pictures (N, h, w, 3), where `shown` (h, w) of them show anything."""
    plate, count = masked_median(pictures, free)
    seen = count >= 2
    if not seen.any():
        return None
    deviation = np.abs(pictures.astype(np.float32) - plate).mean(-1) * free
    spread = deviation.sum(0) / np.maximum(count, 1)
    trust = np.clip((count / np.maximum(shown, 1) - UNSURE) / SURE, 0, 1).astype(np.float32) * seen
    return Behind(fill_unseen(plate, seen).astype(np.float32), spread.astype(np.float32), trust)


def _place(matrices: Sequence[Matrix], width: int, height: int) -> tuple[Matrix, tuple[int, int]]:
    """Of the place that frames of one size show together: from its pixels to the reference's, and its size (w, h).

    matrices : (3, 3) from pixels of the reference to those of each frame.
    """
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)
    ends = np.concatenate([moved(corners, np.linalg.inv(matrix)) for matrix in matrices])
    whole = np.array([width, height])
    wider = (WIDEST - 1) / 2 * whole
    low = np.floor(np.maximum(ends.min(axis=0), -wider))
    high = np.ceil(np.minimum(ends.max(axis=0), whole + wider))
    offset = np.array([[1, 0, low[0]], [0, 1, low[1]], [0, 0, 1]])
    return offset, (int(high[0] - low[0]), int(high[1] - low[1]))


def _warped(picture: Picture, matrix: Matrix, size: tuple[int, int], how: int) -> Picture:
    return np.asarray(cv2.warpPerspective(picture, matrix, size, flags=how | cv2.WARP_INVERSE_MAP), np.uint8)
