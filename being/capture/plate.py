"""What is behind the person: the median of pixels nobody covers, and a smooth guess where somebody always does.

It only means something before a camera that stands still, so that is checked here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from being.errors import InputError

GROWN = 0.041  # the person's mask grows by this share of the shorter side: soft hair, shadows, motion blur
MOST_FRAMES = 96  # the median of so many is as good as of all
LEAST_SHARE = 0.02  # a pixel seen in fewer of the frames counts as never seen
ROWS = 32  # rows sorted at a time, to bound memory

LOOK_SIZE = 320  # longer side at which the camera's motion is looked for
MOST_CORNERS, LEAST_CORNERS = 300, 12
CLEAR = 3e-5  # least eigenvalue of a corner that is no noise: walls and blurred backdrops give under 2.2e-5
STILL = 0.006  # shift of the background, in shares of the picture's width, that still counts as none
LOST = 0.6  # share of corners lost at which a picture shows another background
MOVED_SHARE = 0.2  # share of the looked-at frames that may be off before the camera counts as moving


class Pictures(Protocol):
    """Pictures by number: a list, an array, or something that reads them from disk."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]: ...


def spread_over(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0..count-1, evenly spread, first and last among them."""
    return sorted({round(x) for x in np.linspace(0, count - 1, min(count, most))})


def background_plate(
    frames: Pictures, labels: Pictures, most: int = MOST_FRAMES
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The plate and where it was really seen.

    Parameters
    ----------
    frames : RGB (H, W, 3) each. labels : (H, W) each, 0 where the background is. most : frames looked at.

    Returns
    -------
    plate : RGB (H, W, 3), filled smoothly where the person never leaves. seen : bool (H, W).
    """
    chosen = spread_over(len(frames), most)
    colours, free = _visible(frames, labels, chosen)
    plate, count = masked_median(colours, free)
    seen = count >= max(2 if len(chosen) > 1 else 1, LEAST_SHARE * len(chosen))
    return fill_unseen(plate, seen), seen


def _visible(frames: Pictures, labels: Pictures, chosen: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    pictures = np.stack([frames[i] for i in chosen])
    return pictures, np.stack([~grown_mask(labels[i]) for i in chosen])


def grown_mask(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The person and a rim around (H, W)."""
    reach = max(3, round(GROWN * min(labels.shape)) | 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    return cv2.dilate((labels > 0).astype(np.uint8), kernel) > 0


def masked_median(pictures: NDArray[np.uint8], free: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Median over the pictures (N, H, W, 3) of what `free` (N, H, W) allows: (H, W, 3), and of how many (H, W)."""
    count = free.sum(0)
    out = np.zeros(pictures.shape[1:], np.uint8)
    middle = np.maximum(count - 1, 0) // 2
    for top in range(0, pictures.shape[1], ROWS):
        rows = np.s_[top : top + ROWS]
        # Covered samples get a value above all others: sorted, the free ones stand in front.
        stack = np.where(free[:, rows, :, None], pictures[:, rows].astype(np.uint16), 256)
        ordered = np.sort(np.ascontiguousarray(np.moveaxis(stack, 0, -1)), axis=-1)
        picked = np.take_along_axis(ordered, middle[rows, :, None, None], axis=-1)[..., 0]
        out[rows] = np.where(count[rows, :, None] > 0, picked, 0).astype(np.uint8)
    return out, count


def fill_unseen(picture: NDArray[np.uint8], seen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """`picture` with a smooth continuation where `seen` (H, W) is false, by pulling up and pushing down a pyramid."""
    if seen.all():
        return picture.copy()
    if not seen.any():
        return np.full_like(picture, 127)
    weight = seen.astype(np.float32)
    level = picture.astype(np.float32) * weight[..., None]
    levels = []
    while min(weight.shape) > 2:
        levels.append((level, weight))
        size = ((weight.shape[1] + 1) // 2, (weight.shape[0] + 1) // 2)
        level = cv2.resize(cv2.blur(level, (3, 3)), size, interpolation=cv2.INTER_AREA)
        weight = cv2.resize(cv2.blur(weight, (3, 3)), size, interpolation=cv2.INTER_AREA)
        # A cell a quarter known is known: its colour comes from what is known in it.
        gain = np.minimum(1, weight * 4) / np.maximum(weight, 1e-6)
        level, weight = level * gain[..., None], weight * gain
    known = weight > 1e-6
    rest = level[known].sum(0) / weight[known].sum() if known.any() else np.full(3, 127, np.float32)
    filled = np.where(known[..., None], level / np.maximum(weight, 1e-6)[..., None], rest).astype(np.float32)
    for level, weight in reversed(levels):
        up = cv2.resize(filled, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
        filled = level + up * (1 - weight)[..., None]
    return np.clip(np.round(filled), 0, 255).astype(np.uint8)


def refuse_moving_camera(frames: Pictures, labels: Pictures, most: int = 24) -> float:
    """Raise InputError when the background moves; return its largest usual shift in pixels (0 before a plain wall).

    Corners of the background are followed from the first frame into others (Lucas and Kanade). Their median shift is
    the camera's; a person walking through behind does not sway it.
    """
    chosen = spread_over(len(frames), most)
    if len(chosen) < 2:
        return 0.0
    scale = min(1.0, LOOK_SIZE / max(frames[0].shape[:2]))
    first, first_free = _look(frames[0], labels[0], scale)
    corners = cv2.goodFeaturesToTrack(first, MOST_CORNERS, 0.02, 5, mask=first_free)
    if corners is None:
        return 0.0
    x, y = np.round(corners[:, 0]).astype(int).T
    corners = corners[cv2.cornerMinEigenVal(first, 3)[y, x] > CLEAR]
    if len(corners) < LEAST_CORNERS:
        return 0.0
    shifts, lost = [], []
    for index in chosen[1:]:
        gray, free = _look(frames[index], labels[index], scale)
        shift, found = _follow(first, gray, free, corners)
        if found is None:
            continue
        shifts.append(shift / scale)
        lost.append(1 - found)
    if not shifts:
        return 0.0
    limit = STILL * frames[0].shape[1]
    off = [shift > limit or gone > LOST for shift, gone in zip(shifts, lost, strict=True)]
    usual = float(np.quantile(shifts, 0.9))
    if np.mean(off) > MOVED_SHARE:
        how = f"the background shifts by {usual:.0f} pixels" if usual > limit else "the background changes"
        raise InputError(
            f"The camera moves: {how} during the clip",
            "Film with the phone on a stand, without zoom, in one take; or cut out a part where the camera is still",
        )
    return usual


def _look(image: NDArray[np.uint8], labels: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.uint8], NDArray]:
    size = (max(8, round(image.shape[1] * scale)), max(8, round(image.shape[0] * scale)))
    gray = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
    free = (~grown_mask(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST))).astype(np.uint8) * 255
    return gray, free


def _follow(
    first: NDArray[np.uint8], gray: NDArray[np.uint8], free: NDArray, corners: NDArray[np.float32]
) -> tuple[float, float | None]:
    """Median shift of the corners in pixels and the share found again; None where the person hides most of them."""
    window: dict[str, Any] = {"winSize": (15, 15), "maxLevel": 4}
    follow: Any = cv2.calcOpticalFlowPyrLK  # its stubs know no None
    there, ok, _ = follow(first, gray, corners, None, **window)
    back, ok_back, _ = follow(gray, first, there, None, **window)
    height, width = gray.shape
    x, y = np.round(there[:, 0]).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    hidden = np.zeros(len(corners), bool)
    hidden[inside] = free[y[inside], x[inside]] == 0
    if (~hidden).sum() < LEAST_CORNERS:
        return 0.0, None
    returned = np.linalg.norm((back - corners)[:, 0], axis=1) < 1.0
    good = inside & ~hidden & (ok[:, 0] > 0) & (ok_back[:, 0] > 0) & returned
    if good.sum() < LEAST_CORNERS / 2:
        return 0.0, float(good.sum() / (~hidden).sum())
    return float(np.median(np.linalg.norm((there - corners)[good, 0], axis=1))), float(good.sum() / (~hidden).sum())
