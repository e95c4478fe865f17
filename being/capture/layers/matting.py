"""The person cut out of a picture whose background is not known: soft at the rim, without the old background's colour.

Well inside the labels everything is person, well outside nothing is. Between, the colours of both sides are continued
into the rim (F and B), and a pixel's alpha is where it lies between them: I = alpha F + (1 - alpha) B, solved for alpha
by projection. That says nothing where both sides look alike, where a colour does not lie between them, and far from the
edge of the labels: there the labels, drawn to the picture's edges by a guided filter (He, Sun and Tang 2013), decide.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from being.capture.background.plate import fill_unseen

Picture = NDArray[np.uint8]
Alpha = NDArray[np.float32]

INNER, OUTER = 0.008, 0.014  # reach of the rim into the person and away from it, shares of the picture's shorter side
LEAST_INNER, LEAST_OUTER = 2, 3  # pixels: what a lens and an encoder blur
ALIKE = 24.0  # distance between the colours of both sides, grey levels, at which projection counts half
MISFIT = 18.0  # distance of a colour from the line between both sides at which projection counts 1/e as much
NEAR = 0.01  # distance from the labels' edge, share of the shorter side, at which projection counts 1/e as much
SOFTNESS = 5.0  # grey levels below which a variation is no edge of the guided filter


@dataclass(frozen=True)
class CutOut:
    """alpha (H, W) in [0, 1]; colour (H, W, 3) premultiplied by it, 0 to 255."""

    alpha: Alpha
    colour: NDArray[np.float32]

    def over(self, behind: Picture) -> Picture:
        """The person before another background, RGB (H, W, 3)."""
        shown = self.colour + (1 - self.alpha[..., None]) * behind.astype(np.float32)
        return np.clip(np.round(shown), 0, 255).astype(np.uint8)


def cut_out(image: Picture, labels: Picture) -> CutOut:
    """Cut the person out of RGB `image` (H, W, 3), by labels (H, W)."""
    person = (labels > 0).astype(np.uint8)
    side = min(labels.shape)
    inner, outer = max(LEAST_INNER, round(INNER * side)), max(LEAST_OUTER, round(OUTER * side))
    sure, maybe = cv2.erode(person, _disc(inner)) > 0, cv2.dilate(person, _disc(outer)) > 0
    # Pixels beside the rim are mixed already: the colours come from a little further away.
    background = fill_unseen(image, cv2.dilate(person, _disc(outer + 1)) == 0)
    foreground = fill_unseen(image, sure)
    alpha = _alpha(image, person, foreground, background, outer)
    alpha[sure], alpha[~maybe] = 1, 0
    shown = image.astype(np.float32) - (1 - alpha[..., None]) * background
    return CutOut(alpha, np.clip(shown, 0, 255 * alpha[..., None]).astype(np.float32))


def _alpha(image: Picture, person: Picture, foreground: Picture, background: Picture, radius: int) -> Alpha:
    i, f, b = (each.astype(np.float32) for each in (image, foreground, background))
    across = f - b
    length = np.square(across).sum(-1)
    projected = np.clip(((i - b) * across).sum(-1) / np.maximum(length, 1.0), 0, 1)
    misfit = np.square(b + projected[..., None] * across - i).sum(-1)
    away = distance_transform_edt(person) + distance_transform_edt(1 - person) - 0.5
    trust = length / (length + ALIKE * ALIKE)
    near = max(LEAST_INNER, NEAR * min(person.shape))
    trust *= np.exp(-misfit / (MISFIT * MISFIT) - np.square(away / near))
    guided = cv2.ximgproc.guidedFilter(image, person.astype(np.float32), radius, SOFTNESS * SOFTNESS)
    guided = np.clip(guided, 0, 1)
    return (guided + trust * (projected - guided)).astype(np.float32)


def _disc(reach: int) -> Picture:
    side = 2 * reach + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)).astype(np.uint8)
