"""One frame with its truth: picture, parsing, landmarks, mouth opening."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from being.dataset.parsing import BACKGROUND, HEAD, NECK, TORSO
from being.synthetic import rig, shading
from being.synthetic.landmarks import LOWER_LIP, UPPER_LIP, landmarks
from being.synthetic.tracing import draw, intrinsics

CLOSED_GAP = 0.008  # dm between the inner lip edges under which the lips touch

_LABEL_OF_PART = np.full(8, HEAD, np.uint8)
_LABEL_OF_PART[[shading.BACKDROP, shading.NECK, shading.CLOTH]] = (BACKGROUND, NECK, TORSO)


@dataclass(frozen=True)
class FrameTruth:
    """What is known of a frame without drawing it. Pixels unless stated."""

    landmarks: NDArray[np.float64]  # (68, 2)
    visible: NDArray[np.bool_]  # (68,)
    mouth_open: float  # distance between the inner lip edges at the centre
    lips_closed: bool


@dataclass(frozen=True)
class SyntheticFrame(FrameTruth):
    """A drawn frame."""

    image: NDArray[np.uint8]  # RGB (H, W, 3)
    parsing: NDArray[np.uint8]  # labels (H, W) of being.dataset.parsing
    depth: NDArray[np.float32]  # (H, W) decimetres along the ray
    intrinsics: tuple[float, float, float, float]  # fx, fy, cx, cy


def frame_truth(state: rig.FaceState, width: int, height: int) -> FrameTruth:
    """Landmarks and mouth of a state at a picture size."""
    points, visible = landmarks(state, width, height)
    gap = sum(rig.lip_gap(state))
    opening = float(np.linalg.norm(points[UPPER_LIP] - points[LOWER_LIP]))
    return FrameTruth(points, visible, opening, gap < CLOSED_GAP)


def render_frame(state: rig.FaceState, width: int, height: int) -> SyntheticFrame:
    """Draw a state at any size, with its truth."""
    image, part, depth = draw(state, width, height)
    truth = frame_truth(state, width, height)
    return SyntheticFrame(
        truth.landmarks,
        truth.visible,
        truth.mouth_open,
        truth.lips_closed,
        image,
        _LABEL_OF_PART[part],
        depth,
        intrinsics(width, height),
    )
