"""The square of the video that becomes the portrait: head and shoulders, the same for the whole clip.

The square is found from the face mesh alone, before any mask exists. It never leaves the picture and never moves: a
moving crop would look like a moving camera to everything that follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from being.errors import InputError

if TYPE_CHECKING:
    from being.capture.landmarks.tracking import Track

SIDE = 2.6  # side of the square in heights of the face mesh (chin to hairline)
ABOVE = 0.6  # of a face height between the mesh's top and the square's: the rest of the head, hair, a little air
WHOLE = 0.85  # a square of more than this share of the picture's shorter side becomes that whole side
SMALLEST_FACE = 48  # pixels of the video from chin to hairline; below it landmarks are guesses
REMEDY = "Film head and shoulders, with some room around the head, the camera standing still"


@dataclass(frozen=True)
class Crop:
    """A square of the upright video, pixels: left edge x0, top edge y0, side; all even."""

    x0: int
    y0: int
    side: int

    def map(self, points: NDArray[np.float32], size: int) -> NDArray[np.float32]:
        """Points (..., 2 or 3) in video pixels -> pixels of this square drawn at `size`; depth scales along."""
        corner = np.zeros(points.shape[-1], np.float32)
        corner[:2] = self.x0, self.y0
        return ((points - corner) * np.float32(size / self.side)).astype(np.float32)


def choose_crop(track: Track, width: int, height: int, size: int) -> Crop:
    """The square that holds head and shoulders in every frame.

    Parameters
    ----------
    track : the face in the upright video. width, height : of that video, pixels.
    size : side of the pictures to be made, pixels; only the message about a small face speaks of it.

    Raises
    ------
    InputError
        The face is too small, or it leaves every square that fits into the picture.
    """
    points = track.points[track.found][..., :2]
    top, bottom = points[..., 1].min(axis=1), points[..., 1].max(axis=1)
    left, right = points[..., 0].min(axis=1), points[..., 0].max(axis=1)
    face = float(np.median(bottom - top))
    if face < SMALLEST_FACE:
        raise InputError(
            f"The face is {face:.0f} pixels high in the video, at least {SMALLEST_FACE} are needed for {size}x{size}",
            "Film closer, or at a higher resolution",
        )
    # A single wild frame must not widen the square: what 98% of the frames need counts.
    low_x, high_x = np.percentile(left, 2), np.percentile(right, 98)
    low_y, high_y = np.percentile(top, 2), np.percentile(bottom, 98)
    widest = min(width, height)
    side = max(SIDE * face + (high_y - low_y - face), high_x - low_x + 0.8 * face)
    side = _even(widest if side > WHOLE * widest else side)
    if max(high_x - low_x, high_y - low_y) > side:
        raise InputError(f"The face does not stay inside a square of {side} pixels in {width}x{height}", REMEDY)
    x0 = _even(np.clip((low_x + high_x - side) / 2, 0, width - side))
    y0 = _even(np.clip(low_y - ABOVE * face, 0, height - side))
    spill = max(x0 - low_x, high_x - x0 - side, y0 - low_y, high_y - y0 - side)
    if spill > 0.05 * face:
        raise InputError(f"The face leaves the picture by {spill:.0f} pixels in {width}x{height}", REMEDY)
    return Crop(x0, y0, side)


def _even(value: float) -> int:
    return int(value) // 2 * 2
