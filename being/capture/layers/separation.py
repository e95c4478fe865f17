"""Pictures that published trainers read beside the frame: the person over the clean plate, and the torso alone."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from being.dataset.parsing import HEAD, NECK, TORSO

Picture = NDArray[np.uint8]

RISE = 0.1  # how far the neck is continued under the head, share of the picture's height
BASE = 3  # rows of neck whose colour is continued
SLIVER = 0.2  # of the neck's height
MIDDLE = (0.3, 0.7)  # quantiles of the head's pixels, across, between which a collar hides the neck
BLUR = 0.02  # of the continuation, across, share of the picture's width


def over_plate(image: Picture, labels: Picture, plate: Picture) -> Picture:
    """The person of RGB `image` before the plate, all (H, W, 3), with a rim a pixel soft."""
    alpha = cv2.blur((labels > 0).astype(np.float32), (3, 3))[..., None]
    return np.round(plate + alpha * (image.astype(np.float32) - plate)).astype(np.uint8)


def torso_alone(image: Picture, labels: Picture) -> Picture:
    """Torso and neck without the head, RGBA (H, W, 4); the neck goes on upwards behind where the head was.

    Cloth beside it does not: what stands over a collar or a shoulder is hair.
    """
    own = (labels == NECK) | (labels == TORSO)
    out = np.zeros((*labels.shape, 4), np.uint8)
    out[own, :3], out[own, 3] = image[own], 255
    height, width = labels.shape
    head = labels == HEAD
    lowest = height - 1 - head[::-1].argmax(0)
    columns = _neck_columns(labels, head, lowest)
    if len(columns) == 0:
        return out
    below = lowest[columns][:, None] + 1 + np.arange(BASE)
    colour = np.zeros((width, 3), np.float32)
    known = np.zeros(width, np.float32)
    colour[columns] = image[below, columns[:, None]].astype(np.float32).mean(1)
    known[columns] = 1
    reach = (1, max(3, round(BLUR * width) | 1))
    weight = cv2.blur(known[None], reach[::-1])[0]
    smooth = cv2.blur(colour[None], reach[::-1])[0] / np.maximum(weight, 1e-6)[:, None]
    rows = np.arange(height)[:, None]
    rise = (rows[:, :] <= lowest) & (rows > lowest - max(2, round(RISE * height))) & (known > 0) & ~own
    y, x = np.nonzero(rise)
    out[y, x, :3] = np.clip(np.round(smooth[x]), 0, 255)
    out[y, x, 3] = 255
    return out


def _neck_columns(labels: Picture, head: NDArray[np.bool_], lowest: NDArray[np.intp]) -> NDArray[np.intp]:
    """Columns in which the head's lowest pixel stands on the neck; on cloth, before its middle, where no neck shows."""
    columns = np.flatnonzero(head.any(0) & (lowest < len(labels) - BASE))
    under = labels[lowest[columns] + 1, columns]
    # Slivers of neck between hair and cloth are none: they are thinner than this.
    neck = (labels == NECK).astype(np.uint8)
    side = max(2, round(SLIVER * int(neck.sum(0).max())))
    neck = cv2.morphologyEx(neck, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(neck)
    if count > 1 and (under == NECK).any():
        largest = (pieces == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()).any(0)
        return columns[(under == NECK) & largest[columns]]
    if not head.any():
        return columns
    left, right = np.quantile(np.nonzero(head)[1], MIDDLE)
    return columns[(under == TORSO) & (columns >= left) & (columns <= right)]
