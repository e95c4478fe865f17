"""Whether the background stands still: a camera on a stand, or one that is held, pans, zooms, or follows the face.

Corners of the background are followed from the first picture into others (Lucas and Kanade). Their median shift is the
camera's; a person walking through behind does not sway it. Before a plain wall the corners are an encoder's noise,
whose motion means nothing as long as the pictures look alike.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from being.capture.background.found import BackgroundMotion
from being.capture.background.plate import Pictures, grown_mask, spread_over

LOOK_SIZE = 320  # longer side at which the camera's motion is looked for
MOST_CORNERS, LEAST_CORNERS = 300, 12
CLEAR = 3e-5  # least eigenvalue of a corner that is no noise: walls and blurred backdrops give under 2.2e-5
STILL = 0.006  # shift of the background, in shares of the picture's width, that still counts as none
LOST = 0.6  # share of corners lost at which a picture shows another background
SAME, SAME_AT_MOST = 2.5, 8.0  # mean and 95th percentile of grey levels by which a background that looks alike differs
MOVED_SHARE = 0.2  # share of the looked-at frames that may be off before the camera counts as moving


def background_motion(frames: Pictures, labels: Pictures, most: int = 24) -> BackgroundMotion:
    """How the background of pictures RGB (H, W, 3) with labels (H, W) moves; at most `most` are looked at."""
    none = BackgroundMotion(0.0, True, False)
    chosen = spread_over(len(frames), most)
    if len(chosen) < 2:
        return none
    scale = min(1.0, LOOK_SIZE / max(frames[0].shape[:2]))
    first, first_free = _look(frames[0], labels[0], scale)
    corners = cv2.goodFeaturesToTrack(first, MOST_CORNERS, 0.02, 5, mask=first_free)
    if corners is None:
        return none
    x, y = np.round(corners[:, 0]).astype(int).T
    corners = corners[cv2.cornerMinEigenVal(first, 3)[y, x] > CLEAR]
    if len(corners) < LEAST_CORNERS:
        return none
    shifts, lost, unlike = [], [], []
    for index in chosen[1:]:
        gray, free = _look(frames[index], labels[index], scale)
        shift, found = _follow(first, gray, free, corners)
        if found is None:
            continue
        shifts.append(shift / scale)
        lost.append(1 - found)
        unlike.append(_differs(first, gray, (first_free > 0) & (free > 0)))
    if not shifts:
        return none
    limit = STILL * frames[0].shape[1]
    off = [(shift > limit or gone > LOST) and other for shift, gone, other in zip(shifts, lost, unlike, strict=True)]
    still = bool(np.mean(off) <= MOVED_SHARE)
    # Beyond the limit the corners of a background that looks alike are noise, whose shift is nobody's.
    told = [shift for shift, other in zip(shifts, unlike, strict=True) if other or shift <= limit]
    usual = float(np.quantile(told, 0.9)) if told else 0.0
    return BackgroundMotion(usual, still, not still and float(np.median(lost)) > LOST)


def _look(image: NDArray[np.uint8], labels: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.uint8], NDArray]:
    size = (max(8, round(image.shape[1] * scale)), max(8, round(image.shape[0] * scale)))
    gray = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
    free = (~grown_mask(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST))).astype(np.uint8) * 255
    return gray, free


def _differs(first: NDArray[np.uint8], gray: NDArray[np.uint8], free: NDArray[np.bool_]) -> bool:
    """Whether two backgrounds do not look alike where both are free (h, w)."""
    if not free.any():
        return True
    smooth = [cv2.blur(each, (3, 3)) for each in (first, gray)]
    apart = cv2.absdiff(*smooth)[free]
    return bool(apart.mean() > SAME or np.percentile(apart, 95) > SAME_AT_MOST)


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
