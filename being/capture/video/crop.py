"""The part of the video that becomes the portrait: head and shoulders, the same for the whole clip.

It is found from the face mesh alone, before any mask exists. It never leaves the picture and never moves: a moving crop
would look like a moving camera to everything that follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from being.errors import InputError

if TYPE_CHECKING:
    from being.capture.landmarks.tracking import Track

SIDE = 2.6  # shorter side of the crop in heights of the face mesh (chin to hairline)
ABOVE = 0.6  # of a face height between the mesh's top and the crop's: the rest of the head, hair, a little air
WHOLE = 0.85  # a crop of more than this share of the largest that fits becomes that
MOST_SPILL = 0.05  # of a face height that may lie outside
LEAST_INSIDE = 0.5  # share of the frames that must show the face inside the crop
TRIED = 9  # places along each side where the fullest crop is looked for
HEIGHT = 0.42  # of the shorter side, from the crop's top to the middle of the face
SMALLEST_FACE = 48  # pixels of the video from chin to hairline; below it landmarks are guesses
REMEDY = "Film head and shoulders, with some room around the head, and keep the face in the picture"


@dataclass(frozen=True)
class Crop:
    """A rectangle of the upright video, pixels: left edge x0, top edge y0, sides; all even."""

    x0: int
    y0: int
    width: int
    height: int

    def holds(self, points: NDArray[np.float32]) -> NDArray[np.bool_]:
        """In which frames the face (T, 478, 2 or 3) in video pixels is inside, (T,)."""
        low, high = points[..., :2].min(axis=1), points[..., :2].max(axis=1)
        corner, sides = np.array((self.x0, self.y0), np.float32), np.array((self.width, self.height), np.float32)
        spill = np.maximum(corner - low, high - corner - sides).max(axis=1)
        return spill <= MOST_SPILL * (high[:, 1] - low[:, 1])

    def map(self, points: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
        """Points (..., 2 or 3) in video pixels -> pixels of the crop drawn at a size; depth scales along."""
        corner = np.zeros(points.shape[-1], np.float32)
        corner[:2] = self.x0, self.y0
        across, down = size[0] / self.width, size[1] / self.height
        scales = np.array((across, down, across)[: points.shape[-1]], np.float32)
        return ((points - corner) * scales).astype(np.float32)


def choose_crop(track: Track, width: int, height: int, size: tuple[int, int]) -> Crop:
    """The part of the picture that holds head and shoulders in every frame, or, where none does, in most of them.

    Parameters
    ----------
    track : the face in the upright video. width, height : of that video, pixels.
    size : width and height of the pictures to be made, pixels: the crop has their shape.

    Raises
    ------
    InputError
        The face is too small, or in more than half of the frames outside any one crop that fits into the picture.
    """
    points = track.points[track.found][..., :2]
    top, bottom = points[..., 1].min(axis=1), points[..., 1].max(axis=1)
    left, right = points[..., 0].min(axis=1), points[..., 0].max(axis=1)
    face = float(np.median(bottom - top))
    if face < SMALLEST_FACE:
        raise InputError(
            f"The face is {face:.0f} pixels high in the video, at least {SMALLEST_FACE} are needed for "
            f"{size[0]}x{size[1]}",
            "Film closer, or at a higher resolution",
        )
    # A single wild frame must not widen the crop: what 98% of the frames need counts.
    low_x, high_x = np.percentile(left, 2), np.percentile(right, 98)
    low_y, high_y = np.percentile(top, 2), np.percentile(bottom, 98)
    side = max(SIDE * face + (high_y - low_y - face), high_x - low_x + 0.8 * face)
    wide, tall = _sides(side, size, width, height)
    x0 = _even(np.clip((low_x + high_x - wide) / 2, 0, width - wide))
    y0 = _even(np.clip(low_y - ABOVE * face, 0, height - tall))
    spill = max(x0 - low_x, high_x - x0 - wide, y0 - low_y, high_y - y0 - tall)
    if spill <= MOST_SPILL * face:
        return Crop(x0, y0, wide, tall)
    best = _fullest(points, width, height, face, size)
    inside = float(best.holds(points).mean())
    if inside < LEAST_INSIDE:
        raise InputError(
            f"The face leaves the picture by {spill:.0f} pixels in {width}x{height}, and one crop holds it in only "
            f"{inside:.0%} of the frames",
            REMEDY,
        )
    return best


def _sides(side: float, size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """Width and height, in the shape of `size`, around a square of `side`, as far as the picture goes.

    What takes most of the picture takes as much as there is.
    """
    most = _largest(size, width, height)
    return _shaped(most if side > WHOLE * most else side, size)


def _largest(size: tuple[int, int], width: int, height: int) -> float:
    """The shorter side of the largest crop in the shape of `size` that the picture holds."""
    return min(width / (size[0] / min(size)), height / (size[1] / min(size)))


def _shaped(shorter: float, size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a crop in the shape of `size`, by its shorter side."""
    return _even(shorter * (size[0] / min(size)) + 1e-6), _even(shorter * (size[1] / min(size)) + 1e-6)


def _fullest(points: NDArray[np.float32], width: int, height: int, face: float, size: tuple[int, int]) -> Crop:
    """The crop in which the face (T, 478, 2) is in the most frames, near the middle of these."""
    wide, tall = _shaped(min(_largest(size, width, height), SIDE * face * 1.2), size)
    above = HEIGHT * min(wide, tall)
    middle = (points.min(axis=1) + points.max(axis=1)) / 2
    crops = [
        Crop(_even(np.clip(x - wide / 2, 0, width - wide)), _even(np.clip(y - above, 0, height - tall)), wide, tall)
        for x in np.quantile(middle[:, 0], np.linspace(0, 1, TRIED))
        for y in np.quantile(middle[:, 1], np.linspace(0, 1, TRIED))
    ]
    return max(crops, key=lambda crop: int(crop.holds(points).sum()))


def _even(value: float) -> int:
    return int(value) // 2 * 2
