"""Who owns a pixel: the colours of `parsing/*.png` and the labels Being uses for them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BACKGROUND, HEAD, NECK, TORSO = 0, 1, 2, 3

# Colours as an image viewer shows them. Row k paints label k.
PALETTE = np.array([[255, 255, 255], [0, 0, 255], [0, 255, 0], [255, 0, 0]], np.uint8)

# InsTaG also paints hair black and the mouth's inside grey; both move with the head.
_KNOWN = np.concatenate([PALETTE, np.array([[0, 0, 0], [100, 100, 100]], np.uint8)]).astype(np.int32)
_LABEL_OF_KNOWN = np.array([BACKGROUND, HEAD, NECK, TORSO, HEAD, HEAD], np.uint8)


def labels_of_colours(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB (H, W, 3) -> labels (H, W); a blended colour (a resized mask) goes to the nearest known one."""
    flat = image.reshape(-1, 3)
    packed = flat[:, 0].astype(np.uint32) << 16 | flat[:, 1].astype(np.uint32) << 8 | flat[:, 2]
    colours, index = np.unique(packed, return_inverse=True)  # a mask has few colours: match those, not every pixel
    rgb = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.int32)
    nearest = ((rgb[:, None] - _KNOWN[None]) ** 2).sum(-1).argmin(1)
    return _LABEL_OF_KNOWN[nearest][index].reshape(image.shape[:2])


def colours_of_labels(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels (H, W) -> RGB (H, W, 3) as the published datasets paint them."""
    return PALETTE[labels]
