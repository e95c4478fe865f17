"""How far the camera zooms in every frame: the scale of the background, by its features, against one frame.

A head that a zoom brings nearer keeps its perspective, one that comes nearer does not. Who takes the first for the
second bends the head's turns by a degree; `being.capture.pose.zoomed` sets them right by what is found here.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from being.capture.background.plate import Pictures, grown_mask, spread_over
from being.capture.background.stabilise import Matrix, features_of, homography

Array = NDArray[np.float64]

EVERY = 4  # frames of which one is looked at: a zoom is slower
MOST_LOOKS = 2000
SMOOTH = 2.0  # frames, deviation
LEAST_LAID = 0.75  # share of these frames whose background must be found in the middle one
LEAST_SPAN = 0.04  # between the farthest and the nearest 5%: less is a hand that comes nearer, or noise
SLOPE = (0.5, 1.5)  # of the head's size by the background's, logarithms: 1 for a zoom, more for a camera that walks


def zoom_of(
    frames: Pictures,
    labels: Pictures,
    depths: Array,
    workers: int = 1,
    progress: Callable[[float], None] | None = None,
) -> Array | None:
    """Focal length of every frame over the usual one, (T,); None where the camera does not zoom, or nobody can tell.

    Parameters
    ----------
    frames : T pictures, RGB (H, W, 3). labels : (H, W) each. depths : (T,) of the head, dm, as a camera of one focal
    length has them. progress : told the share done.
    """
    total = len(frames)
    chosen = spread_over(total, min(MOST_LOOKS, max(2, total // EVERY)))
    middle = total // 2
    first = features_of(frames[middle], grown_mask(labels[middle]))
    height, width = frames[middle].shape[:2]
    centre = np.array([width / 2, height / 2])
    scales = []

    def look(index: int) -> float:
        matrix = homography(first, features_of(frames[index], grown_mask(labels[index])))
        return np.nan if matrix is None else scale_at(matrix, centre)

    with ThreadPoolExecutor(workers) as pool:
        for done, scale in enumerate(pool.map(look, chosen), start=1):
            scales.append(scale)
            if progress is not None:
                progress(done / len(chosen))
    found = np.isfinite(scales)
    if found.mean() < LEAST_LAID:
        return None
    logs = np.interp(np.arange(total), np.array(chosen)[found], np.log(np.array(scales)[found]))
    logs = gaussian_filter1d(logs, SMOOTH, mode="nearest")
    low, high = np.percentile(logs, [5, 95])
    if high - low < LEAST_SPAN:
        return None
    logs -= np.median(logs)
    size = -np.log(depths)
    slope = float(logs @ (size - size.mean()) / (logs @ (logs - logs.mean())))
    return np.exp(logs) if SLOPE[0] < slope < SLOPE[1] else None


def scale_at(matrix: Matrix, place: Array) -> float:
    """How much larger a homography (3, 3) draws things around `place` (2,)."""
    x, y, w = matrix @ np.append(place, 1.0)
    there = np.array([x, y]) / w
    jacobian = (matrix[:2, :2] - there[:, None] * matrix[2, :2]) / w
    return float(np.sqrt(abs(np.linalg.det(jacobian))))
