"""One frame with its truth: picture, parsing, landmarks, mouth opening."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from being.dataset.parsing import BACKGROUND, HEAD, NECK, TORSO
from being.synthetic import rig, shading
from being.synthetic.cutout import cut_out
from being.synthetic.landmarks import LOWER_LIP, UPPER_LIP, landmarks
from being.synthetic.room import draw_room
from being.synthetic.tracing import draw, intrinsics

Intrinsics = tuple[float, float, float, float]  # fx, fy, cx, cy in pixels
CLOSED_GAP = 0.008  # dm between the inner lip edges under which the lips touch

_LABEL_OF_PART = np.full(9, HEAD, np.uint8)
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
    intrinsics: Intrinsics
    alpha: NDArray[np.float32] | None = None  # (H, W) coverage, where the person was drawn apart from the background
    composited: NDArray[np.uint8] | None = None  # the same person before the still camera's background


def frame_truth(state: rig.FaceState, width: int, height: int, camera: Intrinsics | None = None) -> FrameTruth:
    """Landmarks and mouth of a state at a picture size, seen by a camera of other intrinsics where these are given."""
    points, visible = landmarks(state, width, height, camera)
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


def render_in_room(state: rig.FaceState, width: int, height: int, camera: Intrinsics, view: NDArray) -> SyntheticFrame:
    """Draw a state in the room, with its matte.

    Parameters
    ----------
    state : its poses are in the still camera's space. camera : fx, fy, cx, cy of this picture, pixels.
    view : (3, 4) from the still camera's space to this camera's.
    """
    seen = replace(state, head=_through(view, state.head), torso=_through(view, state.torso), lights=view[:, :3])
    truth = frame_truth(seen, width, height, camera)
    still = intrinsics(width, height)
    cutout = cut_out(seen, width, height, camera)
    return SyntheticFrame(
        truth.landmarks,
        truth.visible,
        truth.mouth_open,
        truth.lips_closed,
        cutout.over(draw_room(width, height, camera, view, still)),
        _LABEL_OF_PART[cutout.part],
        cutout.depth,
        camera,
        cutout.alpha,
        cutout.over(draw_room(width, height, still)),
    )


def _through(view: NDArray, pose: NDArray[np.float64]) -> NDArray[np.float64]:
    moved = view[:, :3] @ pose
    moved[:, 3] += view[:, 3]
    return moved
