"""Who owns a pixel: the colours of `parsing/*.png` and the labels Being uses for them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BACKGROUND, HEAD, NECK, TORSO = 0, 1, 2, 3

# Colours as an image viewer shows them. Row k paints label k.
PALETTE = np.array([[255, 255, 255], [0, 0, 255], [0, 255, 0], [255, 0, 0]], np.uint8)

# Label by which of (R, G, B) are bright. Three colours are the palette's; black (hair) and dark grey (mouth) are
# InsTaG's and move with the head; mixtures only occur on the rims of resized masks.
_LABEL_OF_BRIGHT = np.array([HEAD, HEAD, NECK, HEAD, TORSO, HEAD, NECK, BACKGROUND], np.uint8)


def labels_of_colours(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB (H, W, 3) -> labels (H, W), for the published palette and InsTaG's; a blended rim goes to one side."""
    bright = (image > 127).view(np.uint8)
    return _LABEL_OF_BRIGHT[bright[..., 0] << 2 | bright[..., 1] << 1 | bright[..., 2]]


def colours_of_labels(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels (H, W) -> RGB (H, W, 3) as the published datasets paint them."""
    return PALETTE[labels]
