"""From uncertain, flickering class shares to clean labels: average along the motion, drop specks, sharpen at the edges.

Shares are float32 (h, w, 4) at a working resolution, summing to 1 over background, head, neck and torso.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from being.capture.parsing.guided_filter import enlarged_winner
from being.dataset.parsing import BACKGROUND, HEAD, NECK, TORSO

Shares = NDArray[np.float32]

MEMORY = 0.6  # share of a frame's opinion that comes from its neighbour where the picture agrees
TOLERANCE = 18.0  # grey levels between a pixel and its origin at which the neighbour is believed 1/e as much
SMALL = {HEAD: 0.004, NECK: 0.0015, TORSO: 0.004}  # pieces under this share of the picture are specks
SMALL_HEAD_AWAY = 0.02  # a piece of head that does not touch the face may be no larger
SMALL_HOLE = 0.0008  # background inside the person
EDGE_RADIUS = 2  # working pixels within which edges follow the full picture
EDGE_SOFTNESS = 4.0  # grey levels below which a variation is no edge


def flow_between(gray: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float32]:
    """For every pixel of `gray`, where it lies in `other`: coordinates (h, w, 2)."""
    # An instance a call: it keeps buffers and is not safe to share between threads.
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST).calc(gray, other, None)
    height, width = gray.shape
    flow[..., 0] += np.arange(width, dtype=np.float32)
    flow[..., 1] += np.arange(height, dtype=np.float32)[:, None]
    return flow


def average_along_motion(grays: Sequence[NDArray[np.uint8]], shares: Sequence[Shares]) -> list[Shares]:
    """Running average of the shares in the order given, each frame's memory carried along the optical flow."""
    averaged = [shares[0]]
    for before, gray, share in zip(grays[:-1], grays[1:], shares[1:], strict=True):
        place = flow_between(gray, before)
        memory = cv2.remap(averaged[-1], place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        origin = cv2.remap(before, place, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        doubt = cv2.blur(cv2.absdiff(origin, gray), (5, 5)).astype(np.float32) / TOLERANCE
        weight = (MEMORY * np.exp(-doubt * doubt))[..., None]
        averaged.append(share + weight * (memory - share))
    return averaged


def clean_labels(labels: NDArray[np.uint8], hull: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One person without specks: pieces too small to be anything go to what surrounds them.

    Parameters
    ----------
    labels : (h, w), see `being.dataset.parsing`. hull : 1 inside the face (h, w).
    """
    labels = labels.copy()
    count, pieces = cv2.connectedComponents((labels > 0).astype(np.uint8))
    if count > 2 and hull.any():
        face = np.bincount(pieces[hull > 0], minlength=count)[1:].argmax() + 1
        labels[(pieces != face) & (pieces > 0)] = BACKGROUND
    for label, share in SMALL.items():
        _dissolve_pieces(labels, label, share * labels.size, hull)
    _dissolve_pieces(labels, BACKGROUND, SMALL_HOLE * labels.size, hull)
    return labels


def _dissolve_pieces(labels: NDArray[np.uint8], label: int, small: float, hull: NDArray[np.uint8]) -> None:
    count, pieces, stats, _ = cv2.connectedComponentsWithStats((labels == label).astype(np.uint8), connectivity=4)
    if count <= 2:
        return
    largest = stats[1:, cv2.CC_STAT_AREA].max()
    for piece in range(1, count):
        x, y, width, height, area = stats[piece]
        around = np.s_[max(y - 2, 0) : y + height + 2, max(x - 2, 0) : x + width + 2]
        inside = pieces[around] == piece
        away = label == HEAD and area < SMALL_HEAD_AWAY * labels.size and not (hull[around][inside] > 0).any()
        if area >= largest or (area >= small and not away):
            continue
        ring = (cv2.dilate(inside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~inside
        votes = np.bincount(labels[around][ring], minlength=4)
        votes[label] = 0
        if votes.any():
            labels[around][inside] = votes.argmax()


def with_clean_labels(shares: Shares, hull: NDArray[np.uint8]) -> Shares:
    """Shares that agree with the clean labels: where cleaning overruled them, the clean label takes all."""
    labels = shares.argmax(-1).astype(np.uint8)
    clean = clean_labels(labels, hull)
    overruled = clean != labels
    if overruled.any():
        shares = shares.copy()
        shares[overruled] = np.eye(4, dtype=np.float32)[clean[overruled]]
    return shares


def sharpen(shares: Shares, small: NDArray[np.uint8], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels (H, W) of RGB `image` (H, W, 3), their edges drawn to its own; shares (h, w, 4) at gray `small` (h, w)."""
    large = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return enlarged_winner(shares, small, large, EDGE_RADIUS, EDGE_SOFTNESS)
