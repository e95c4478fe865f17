"""Where teeth show: what is bright and hardly red between parted lips, by a threshold found for the whole clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from being.capture.parsing.face_regions import (
    CHIN,
    FOREHEAD,
    INNER_LIPS,
    LOWER_INNER_LIP,
    UPPER_INNER_LIP,
    fill_polygon,
)

PARTED = 0.018  # opening of the inner lips, in face lengths, from which teeth can be told from lips
REDNESS = 1.5  # a unit of Lab's a (towards red) counts against this many units of lightness
LEAST_CONTRAST = 12.0  # between the two kinds of pixels; below it the clip shows no teeth
LEAST_PIXELS = 200  # of mouth interior to tell anything from


def lips_apart(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Opening between the inner lips of meshes (..., 478, 3), in face lengths (...)."""
    gap = np.linalg.norm(points[..., UPPER_INNER_LIP, :2] - points[..., LOWER_INNER_LIP, :2], axis=-1)
    face = np.linalg.norm(points[..., FOREHEAD, :2] - points[..., CHIN, :2], axis=-1)
    return (gap / np.maximum(face, 1e-6)).astype(np.float32)


def _interior(points: NDArray[np.float32], height: int, width: int) -> NDArray[np.bool_]:
    return fill_polygon(points[list(INNER_LIPS), :2], (height, width)) > 0


def _toothness(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    return lab[..., 0] - REDNESS * (lab[..., 1] - 128)


@dataclass(frozen=True)
class TeethFinder:
    """`threshold`: brightness less redness from which a pixel inside the mouth is tooth; infinite: none are."""

    threshold: float

    @classmethod
    def learn(cls, images: Sequence[NDArray[np.uint8]], points: Sequence[NDArray[np.float32]]) -> TeethFinder:
        """From a few frames RGB (H, W, 3) with their meshes (478, 3): Otsu's threshold over all mouth interiors."""
        values = [
            _toothness(image)[_interior(mesh, image.shape[0], image.shape[1])]
            for image, mesh in zip(images, points, strict=True)
            if lips_apart(mesh) > PARTED
        ]
        inside = np.concatenate(values) if values else np.zeros(0, np.float32)
        if len(inside) < LEAST_PIXELS:
            return cls(float("inf"))
        scaled = np.clip(inside, 0, 255).astype(np.uint8)
        threshold, _ = cv2.threshold(scaled[None], 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
        bright, dark = inside[inside > threshold], inside[inside <= threshold]
        apart = len(bright) > 0 and len(dark) > 0 and bright.mean() - dark.mean() > LEAST_CONTRAST
        return cls(float(threshold) if apart else float("inf"))

    def __call__(self, image: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.bool_] | None:
        """Teeth of a frame (H, W); None where the lips are shut or no tooth shows."""
        if lips_apart(points) <= PARTED or not np.isfinite(self.threshold):
            return None
        mouth = _interior(points, image.shape[0], image.shape[1])
        y, x = np.nonzero(mouth)
        if len(y) == 0:
            return None
        box = np.s_[y.min() : y.max() + 1, x.min() : x.max() + 1]
        teeth = np.zeros(mouth.shape, np.uint8)
        teeth[box] = mouth[box] & (_toothness(image[box]) > self.threshold)
        teeth[box] = cv2.morphologyEx(teeth[box], cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
        return teeth > 0 if teeth.any() else None
