"""From renders and footage to pairs: which square of the frames is looked at, and where the face is in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from being.avatar.folder import Avatar
from being.dataset import Dataset
from being.dataset.landmarks import MOUTH
from being.inference.renderable import RenderableAvatar
from being.refine.native.refiner import SIZES
from being.refine.windows import Window, window_of
from being.training.data.footage import MOUTH_MARGIN, boxes_of
from being.training.refiner.folds import Renders
from being.training.refiner.pairs import Pairs

Array = NDArray[np.float32]


class FacePlaces:
    """Where the face of an avatar is in the frames of its footage.

    Attributes
    ----------
    boxes : (T, 4) float32, NaN where it is out of sight. landmarks : (T, 68, 2) float32. windows : of each frame, None
        where it is out of sight.
    square : x, y, side of what holds all windows, multiples of 8 where the frame is large enough.

    Parameters
    ----------
    sizes : of crops that the refiner takes, pixels.
    """

    def __init__(self, avatar: Avatar, dataset: Dataset, sizes: Sequence[int] = SIZES) -> None:
        drawn = RenderableAvatar(avatar, torch.device("cpu"))
        width, height = dataset.width, dataset.height
        self.boxes = np.full((dataset.frames, 4), np.nan, np.float32)
        self.windows: list[Window | None] = []
        for frame, pose in enumerate(dataset.head_poses):
            box = drawn.face_box(pose, width, height)
            self.windows.append(None if box is None else window_of(box, width, height, sizes))
            if box is not None:
                self.boxes[frame] = box
        marks = np.stack([dataset.landmarks(frame) for frame in range(dataset.frames)])
        self.landmarks: Array = marks
        self.lips = boxes_of(marks[:, MOUTH], MOUTH_MARGIN)
        self.square = _around([window for window in self.windows if window is not None], width, height)

    def sides(self) -> tuple[int, ...]:
        """Sides of the crops that the footage has, the most frequent first."""
        sizes = [window.size for window in self.windows if window is not None]
        return tuple(sorted(set(sizes), key=lambda size: -sizes.count(size)))

    def in_sight(self, frames: Sequence[int]) -> list[int]:
        """Those frames in which there is a face."""
        return [frame for frame in frames if self.windows[frame] is not None]


def _around(windows: Sequence[Window], width: int, height: int) -> tuple[int, int, int]:
    low = [min(getattr(window, axis) for window in windows) for axis in "xy"]
    high = [max(getattr(window, axis) + window.side for window in windows) for axis in "xy"]
    side = max(high[0] - low[0], high[1] - low[1])
    side = min(-(-side // 8) * 8, min(width, height) // 8 * 8)
    x, y = (min(max(first, 0), length - side) for first, length in zip(low, (width, height), strict=True))
    return x, y, side


def pairs_of(dataset: Dataset, places: FacePlaces, sources: Sequence[tuple[Renders, bool, int]]) -> Pairs:
    """Pairs of renders (whether their frames had been trained on, and who drew them: see `Pairs`) with what was
    filmed."""
    x, y, side = places.square
    numbers = torch.cat([renders.frames for renders, _, _ in sources])
    frames = numbers.tolist()
    truth = np.stack([dataset.composited(frame)[y : y + side, x : x + side] for frame in frames])
    corner = np.array([x, y, x, y])
    windows = [places.windows[frame] for frame in frames]
    squares = np.array([[w.x, w.y, w.x + w.side, w.y + w.side] for w in windows if w is not None]) - corner
    fx, fy, cx, cy = (float(value) for value in dataset.intrinsics)
    plate = np.ascontiguousarray(dataset.background[y : y + side, x : x + side])
    return Pairs(
        frames=numbers,
        renders=torch.cat([renders.rgb for renders, _, _ in sources]),
        truth=torch.from_numpy(truth),
        alpha=torch.cat([renders.alpha for renders, _, _ in sources]),
        plate=torch.from_numpy(plate),
        windows=torch.from_numpy(squares.clip(0, side).astype(np.int64)),
        boxes=torch.from_numpy((places.boxes[frames] - corner).clip(0, side).astype(np.float32)),
        lips=torch.from_numpy((places.lips[frames] - corner).clip(0, side).astype(np.float32)),
        seen=torch.tensor([seen for renders, seen, _ in sources for _ in range(len(renders.frames))]),
        avatars=torch.tensor([drew for renders, _, drew in sources for _ in range(len(renders.frames))]),
        head_poses=torch.cat([renders.head_poses for renders, _, _ in sources]),
        depth=torch.cat([renders.depth for renders, _, _ in sources]),
        camera=(fx, fy, cx - x, cy - y),
    )
