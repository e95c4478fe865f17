"""A plate from a camera that moved: every frame's background laid onto that of one frame.

Features of the background (SIFT, Lowe 2004) are matched to those of a reference frame, and the homography that most of
them follow (RANSAC) lays a frame over it: exact for a camera that only turns and zooms, and for a flat or far wall.
Where that does not hold (parallax, other places, people behind) the frames do not agree, and there is no such plate.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from being.capture.background.plate import (
    LEAST_SHARE,
    MOST_FRAMES,
    Pictures,
    fill_unseen,
    grown_mask,
    masked_median,
    spread_over,
)

Picture = NDArray[np.uint8]
Matrix = NDArray[np.float64]  # (3, 3): pixels of the reference to pixels of a frame

FEATURES = 1500
RATIO = 0.8  # of the distances to the nearest and the second nearest feature
STRAY = 2.0  # pixels that a match may be off
LEAST_MATCHES = 16
TRIES = 3  # frames tried as the reference
LEAST_LAID = 0.75  # share of the frames that must find their place
AGREE = 9.0  # grey levels by which half of a frame's background may differ from the plate


@dataclass(frozen=True)
class LaidTogether:
    """plate RGB (H, W, 3), seen bool (H, W): as `plate.background_plate`, at the reference frame's place."""

    plate: Picture
    seen: NDArray[np.bool_]


@dataclass(frozen=True)
class Features:
    """Of a picture's background: where they are, pixels, and what they look like; None where there are none."""

    places: NDArray[np.float32]  # (M, 2)
    looks: NDArray[np.float32] | None  # (M, 128)


def lay_together(
    frames: Pictures, labels: Pictures, workers: int = 1, progress: Callable[[float], None] | None = None
) -> LaidTogether | None:
    """The plate of pictures RGB (H, W, 3) with labels (H, W), or None where they show no one place."""
    chosen = spread_over(len(frames), MOST_FRAMES)
    done: list[int] = []

    def look(index: int) -> Features:
        found = features_of(frames[index], grown_mask(labels[index]))
        done.append(index)
        if progress is not None:
            progress(0.7 * len(done) / len(chosen))
        return found

    with ThreadPoolExecutor(workers) as pool:
        features = list(pool.map(look, chosen))
    onto = to_the_middle(features, min(frames[0].shape[:2]))
    laid = [index for index, matrix in zip(chosen, onto, strict=True) if matrix is not None]
    if len(laid) < max(2, LEAST_LAID * len(chosen)):
        return None
    matrices = [matrix for matrix in onto if matrix is not None]
    pictures, free = _over_reference(frames, labels, laid, matrices)
    plate, count = masked_median(pictures, free)
    seen = count >= max(2, LEAST_SHARE * len(laid))
    gains = _gains(pictures, free & seen, plate)
    pictures = np.clip(np.round(pictures * gains[:, None, None]), 0, 255).astype(np.uint8)
    plate, _ = masked_median(pictures, free)
    if progress is not None:
        progress(1.0)
    apart = np.abs(pictures.astype(np.int16) - plate).mean(-1)
    usual = [float(np.median(apart[k][free[k] & seen])) for k in range(len(laid)) if (free[k] & seen).any()]
    if not usual or np.quantile(usual, LEAST_LAID) > AGREE:
        return None
    return LaidTogether(fill_unseen(plate, seen), seen)


def features_of(image: Picture, hidden: NDArray[np.bool_]) -> Features:
    """SIFT features of RGB `image` (H, W, 3) where nobody hides the background (H, W)."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    points, looks = cv2.SIFT.create(FEATURES, contrastThreshold=0.02).detectAndCompute(
        gray, (~hidden).astype(np.uint8) * 255
    )
    return Features(np.array([point.pt for point in points], np.float32).reshape(-1, 2), looks)


def to_the_middle(features: list[Features], side: int) -> list[Matrix | None]:
    """Homographies from a frame in the middle of the camera's way to every frame; None where there is none.

    Frames are tried from the middle of the clip; then the frame whose view is nearest to the middle of all views found
    takes over, which is where the camera's motion is laid to rest.
    """
    order = sorted(range(len(features)), key=lambda k: abs(k - len(features) // 2))
    tried = order[:: max(1, len(order) // TRIES)][:TRIES]
    best: list[Matrix | None] = [None] * len(features)
    reference = tried[0]
    for first in tried:
        found = [homography(features[first], each) for each in features]
        if sum(m is not None for m in found) > sum(m is not None for m in best):
            best, reference = found, first
    laid = [k for k, matrix in enumerate(best) if matrix is not None]
    if not laid:
        return best
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]], np.float64)
    views = np.stack([moved(corners, best[k]).ravel() for k in laid])  # type: ignore[arg-type]
    central = laid[int(np.abs(views - np.median(views, axis=0)).sum(axis=1).argmin())]
    if central == reference:
        return best
    again = [homography(features[central], each) for each in features]
    return again if sum(m is not None for m in again) >= 0.95 * len(laid) else best


def homography(first: Features, other: Features) -> Matrix | None:
    """From pixels of the first to pixels of the other; None where too few features agree on one."""
    if first is other:
        return np.eye(3)
    if first.looks is None or other.looks is None or len(other.places) < LEAST_MATCHES:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(first.looks, other.looks, k=2)
    good = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < RATIO * pair[1].distance]
    if len(good) < LEAST_MATCHES:
        return None
    here = first.places[[match.queryIdx for match in good]]
    there = other.places[[match.trainIdx for match in good]]
    matrix, fit = cv2.findHomography(here, there, cv2.USAC_MAGSAC, STRAY, maxIters=4000, confidence=0.999)
    if matrix is None or int(fit.sum()) < LEAST_MATCHES:
        return None
    return np.asarray(matrix, np.float64)


def moved(points: NDArray[np.float64], matrix: Matrix) -> NDArray[np.float64]:
    """Points (N, 2) through a homography."""
    there = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ matrix.T
    return there[:, :2] / there[:, 2:]


def _over_reference(
    frames: Pictures, labels: Pictures, chosen: list[int], matrices: list[Matrix]
) -> tuple[Picture, NDArray[np.bool_]]:
    """Pictures (N, H, W, 3) over the reference frame, and where each shows the background there (N, H, W)."""
    height, width = frames[0].shape[:2]
    pictures = np.empty((len(chosen), height, width, 3), np.uint8)
    free = np.empty((len(chosen), height, width), bool)
    for k, (index, matrix) in enumerate(zip(chosen, matrices, strict=True)):
        back = cv2.WARP_INVERSE_MAP
        pictures[k] = cv2.warpPerspective(frames[index], matrix, (width, height), flags=cv2.INTER_LINEAR | back)
        shown = (~grown_mask(labels[index])).astype(np.uint8)
        shown[[0, -1]], shown[:, [0, -1]] = 0, 0
        free[k] = cv2.warpPerspective(shown, matrix, (width, height), flags=cv2.INTER_NEAREST | back) > 0
    return pictures, free


def _gains(pictures: Picture, free: NDArray[np.bool_], plate: Picture) -> NDArray[np.float64]:
    """What each picture's channels are multiplied by to look as the plate does, (N, 3): the camera's exposure."""
    gains = np.ones((len(pictures), 3))
    for k, (picture, where) in enumerate(zip(pictures, free, strict=True)):
        if where.any():
            ratio = (plate[where].astype(np.float64) + 1) / (picture[where].astype(np.float64) + 1)
            gains[k] = np.median(ratio, axis=0)
    return gains
