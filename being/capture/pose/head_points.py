"""Points of the head itself, followed through a clip: hairline, hair, ears, nose, glasses.

Corners found in one ordinary frame are looked for in every other one, each against that same frame, so nothing drifts
(Lucas and Kanade, there and back). Every picture is laid over that frame first by the affine motion of the face mesh:
near, far, turned or rolled, a window then shows the same patch. Pictures are compared by their local contrast: the
light on a face changes as it turns. Where eyes, brows, mouth and jaw move by themselves no point is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from being.capture.background.plate import Pictures
from being.capture.landmarks.head_shape import RIGID
from being.capture.parsing.face_regions import FaceRegions, fill_polygon
from being.capture.read_ahead import WORKERS, ahead
from being.dataset.parsing import HEAD

WORK_SIDE = 512  # pixels of the longer side of the pictures that are compared; smaller ones are enlarged
ON_FACE, OFF_FACE = 100, 60  # points at most
APART, QUALITY = 6, 0.02  # pixels between two corners; of the best corner's strength
CONTRAST_REACH, LEAST_REACH = 12.0, 6.0  # pixels over which contrast is local; less in pictures that were enlarged
GRAIN = 6.0  # grey levels below which contrast is noise
WINDOW = 21
RETURNS = 0.7  # pixels: the way back must end this near to where the way there began
UNLIKE = 12.0  # mean difference of the windows, of 256 levels of local contrast
RIM = 9  # pixels of the head's mask that are left out: what is behind shows there
LOWEST_ON_FACE, LOWEST = 0.12, 0.25  # in face lengths below its middle: the mouth begins; long hair hangs free
# Each eye with its brow, lids and the skin that moves with them: a hull of mesh points.
_EYES = (
    (33, 133, 159, 145, 70, 63, 105, 66, 107, 55, 46, 116, 117, 118, 101, 111),
    (263, 362, 386, 374, 300, 293, 334, 296, 336, 285, 276, 345, 346, 347, 330, 340),
)


@dataclass(frozen=True)
class HeadPoints:
    """M points over T frames.

    Attributes
    ----------
    pixels : float32 (T, M, 2), of the full pictures; only where `seen` (T, M) is true.
    reference : the frame in which the points were chosen.
    """

    pixels: NDArray[np.float32]
    seen: NDArray[np.bool_]
    reference: int


def follow_head(
    pictures: Pictures,
    labels: Pictures,
    points: NDArray[np.float32],
    reference: int,
    progress: Callable[[float], None] | None = None,
    workers: int = WORKERS,
) -> HeadPoints:
    """Find the head's points of the frame `reference` in all of the clip.

    Parameters
    ----------
    pictures : T of them, RGB (H, W, 3). labels : (H, W) each. points : (T, 478, 3), the face mesh in their pixels.
    progress : told the share done. workers : threads.
    """
    grey, scale = _grey(pictures[reference])
    reach = max(LEAST_REACH, CONTRAST_REACH * min(1.0, 1 / scale))
    first = _contrast(grey, reach)
    mesh = points[:, list(RIGID), :2].astype(np.float64) * scale - 0.5
    start = _corners(first, labels[reference], points[reference, :, :2] * scale)
    total = len(points)
    pixels, seen = np.zeros((total, len(start), 2), np.float32), np.zeros((total, len(start)), bool)
    if len(start) == 0:
        return HeadPoints(pixels, seen, reference)

    def find(index: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        motion = _affine(mesh[reference], mesh[index])
        laid = cv2.warpAffine(
            _grey(pictures[index])[0],
            motion,
            first.shape[::-1],
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        there, good = _find(first, _contrast(laid, reach), start)
        return (there @ motion[:, :2].T + motion[:, 2] + 0.5) / scale, good

    for index, found in enumerate(ahead((partial(find, i) for i in range(total)), workers)):
        pixels[index], seen[index] = found
        if progress is not None:
            progress((index + 1) / total)
    return HeadPoints(pixels, seen, reference)


def _grey(picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """RGB (H, W, 3) -> grey levels uint8 (h, w), and how many of its pixels make one of the picture."""
    scale = WORK_SIDE / max(picture.shape[:2])
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if scale != 1:
        size = (round(grey.shape[1] * scale), round(grey.shape[0] * scale))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return np.asarray(grey, np.uint8), scale


def _contrast(grey: NDArray[np.uint8], reach: float) -> NDArray[np.uint8]:
    """Local contrast uint8 (h, w) of grey levels; within `reach` pixels."""
    levels = grey.astype(np.float32)
    levels -= cv2.GaussianBlur(levels, (0, 0), reach)
    spread = np.sqrt(cv2.GaussianBlur(levels * levels, (0, 0), reach))
    return np.clip(128 + 40 * levels / (spread + GRAIN), 0, 255).astype(np.uint8)


def _affine(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """The affine motion (2, 3) that takes points (K, 2) to where they are next, in least squares."""
    motion, *_ = np.linalg.lstsq(np.concatenate([start, np.ones((len(start), 1))], axis=1), end, rcond=None)
    return np.asarray(motion.T)


def _corners(contrast: NDArray[np.uint8], labels: NDArray[np.uint8], mesh: NDArray[np.float32]) -> NDArray[np.float32]:
    """Corners (M, 2) on the parts of the head that keep their shape; pixels whose first centre is 0."""
    shape = (contrast.shape[0], contrast.shape[1])
    head = cv2.resize((labels == HEAD).astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST)
    allowed = cv2.erode(head, np.ones((RIM, RIM), np.uint8)) > 0
    face = FaceRegions(mesh, shape)
    on_face = face.hull > 0
    allowed &= face.down < np.where(on_face, LOWEST_ON_FACE, LOWEST)
    for eye in _EYES:
        allowed &= fill_polygon(cv2.convexHull(mesh[list(eye)])[:, 0], shape) == 0
    found = [np.zeros((0, 2), np.float32)]
    for part, most in ((on_face, ON_FACE), (~on_face, OFF_FACE)):
        mask = (allowed & part).astype(np.uint8) * 255
        corners = cv2.goodFeaturesToTrack(contrast, most, QUALITY, APART, mask=mask)
        if corners is not None:
            found.append(corners[:, 0])
    return np.concatenate(found)


def _find(
    first: NDArray[np.uint8], laid: NDArray[np.uint8], start: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where the points `start` (M, 2) of `first` are in a picture laid over it, and which of them are surely found."""
    follow: Any = cv2.calcOpticalFlowPyrLK
    how = {
        "winSize": (WINDOW, WINDOW),
        "maxLevel": 2,
        "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 0.02),
        "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
    }
    there, ok, unlike = follow(first, laid, start[:, None], start[:, None].copy(), **how)
    back, ok_back, _ = follow(laid, first, there, start[:, None].copy(), **how)
    near = np.linalg.norm(back[:, 0] - start, axis=1) < RETURNS
    return there[:, 0], (ok[:, 0] > 0) & (ok_back[:, 0] > 0) & near & (unlike[:, 0] < UNLIKE)
