"""What is behind the person: the median of pixels nobody covers, and a smooth guess where somebody always does.

Beside the person, what stirs is the person's: strands of hair that no mask holds would stand in the plate as ghosts.

It only shows a place before a camera that stands still, see `being.capture.background.camera_motion`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

GROWN = 0.041  # the person's mask grows by this share of the shorter side: soft hair, shadows, motion blur
MOST_FRAMES = 96  # the median of so many is as good as of all
LEAST_SHARE = 0.02  # a pixel seen in fewer of the frames counts as never seen
BESIDE = 0.08  # reach of what counts as beside the person, share of the shorter side
STIRS = 4.0  # mean difference to the plate over time, grey levels, that is no noise of a sensor or an encoder
STIRS_WEAKLY = 2.5  # times the plate's usual difference, where it touches what stirs
ROWS = 32  # rows sorted at a time, to bound memory


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
    seen &= ~stirring(colours, free, plate, seen)
    return fill_unseen(plate, seen), seen


def stirring(
    pictures: NDArray[np.uint8], free: NDArray[np.bool_], plate: NDArray[np.uint8], seen: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Where beside the person the plate (H, W, 3) is not at rest, (H, W): loose hair. Arguments as `masked_median`."""
    count = free.sum(0)
    apart = np.zeros(seen.shape, np.float32)
    for picture, where in zip(pictures, free, strict=True):
        apart += np.abs(picture.astype(np.int16) - plate).mean(-1, dtype=np.float32) * where
    apart /= np.maximum(count, 1)
    reach = 2 * round(BESIDE * min(seen.shape)) + 1
    beside = cv2.dilate((count < len(pictures)).astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    rest = seen & ~beside
    calm = float(np.median(apart[rest if rest.any() else seen])) if seen.any() else 0.0
    weak = (seen & beside & (apart > STIRS_WEAKLY * calm + 1)).astype(np.uint8)
    strong = weak.astype(bool) & (apart > max(STIRS, STIRS_WEAKLY * calm))
    _, pieces = cv2.connectedComponents(weak)
    grown = np.isin(pieces, np.unique(pieces[strong])) & (weak > 0)
    return cv2.dilate(grown.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


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
