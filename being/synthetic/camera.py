"""How the synthetic person is filmed: a camera on a stand, in a hand, panning, zooming, or a crop after the face.

A moving camera changes the poses, which are relative to it, and may change the intrinsics. Tracking knows one camera
for the whole clip, so its truth is the pose that puts the head, in the still camera, where the moving one saw it.
Lights stay in the room.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from being.dataset.pose import project
from being.errors import InputError
from being.synthetic.motion import FPS, wander
from being.synthetic.tracing import intrinsics

CAMERAS = ("still", "hand", "pan", "zoom", "follow")
HAND_DEG, HAND_DM, TREMOR_DEG = 0.9, 0.12, 0.18  # deviations of a hand's slow turn and move, and of its tremor
PAN_DEG, PAN_S = 5.5, 7.0  # to either side; a sweep there and back
ZOOM, ZOOM_S = 0.14, 6.0  # of the focal length, up and down
# Points all around a head, canonical dm, that say where a camera sees it.
_HEAD = np.array([(x, y, z) for x in (-0.7, 0, 0.7) for y in (-0.8, 0, 0.8) for z in (-0.1, 0.5, 0.8)], np.float64)


@dataclass(frozen=True)
class Filming:
    """T frames of a camera.

    poses : (T, 3, 4) from the still camera's space to this one's. intrinsics : (T, 4) fx, fy, cx, cy in pixels.
    """

    poses: NDArray[np.float64]
    intrinsics: NDArray[np.float64]

    def camera(self, index: int) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy of a frame, pixels."""
        fx, fy, cx, cy = (float(value) for value in self.intrinsics[index])
        return fx, fy, cx, cy

    def sees(self, poses: ArrayLike) -> NDArray[np.float64]:
        """Poses (T, 3, 4) in the still camera's space as poses in this one's."""
        given = np.asarray(poses, np.float64)
        turned = self.poses[:, :, :3] @ given
        turned[:, :, 3] += self.poses[:, :, 3]
        return turned

    def tracked(self, poses: ArrayLike, fixed: ArrayLike) -> NDArray[np.float64]:
        """Poses (T, 3, 4) of the head to this camera as a camera of fixed intrinsics (4,) would have them."""
        given, held = np.asarray(poses, np.float64), np.asarray(fixed, np.float64)
        same = np.abs(self.intrinsics - held).max(axis=1) < 1e-6
        return np.stack(
            [p if s else _posed_alike(p, own, held) for p, own, s in zip(given, self.intrinsics, same, strict=True)]
        )


def film_with(kind: str, head: ArrayLike, width: int, height: int, seed: int = 0) -> Filming:
    """The camera `kind` (see CAMERAS) over T frames in which the head has poses (T, 3, 4) in the still camera's space.

    Raises InputError for a camera that does not exist.
    """
    if kind not in CAMERAS:
        raise InputError(f"there is no camera {kind!r}", f"Choose one of {', '.join(CAMERAS)}")
    heads = np.asarray(head, np.float64)
    frames = len(heads)
    still = np.array(intrinsics(width, height))
    poses = np.repeat(np.eye(3, 4)[None], frames, axis=0)
    views = np.repeat(still[None], frames, axis=0)
    seconds = np.arange(frames) / FPS
    if kind == "hand":
        rng = np.random.default_rng([seed, 11])
        slow = np.stack([wander(rng, frames, 2.5) for _ in range(3)], 1) * (1, 1, 0.7)
        fast = np.stack([wander(rng, frames, 0.35) for _ in range(3)], 1)
        poses[:, :, :3] = Rotation.from_rotvec(np.radians(HAND_DEG * slow + TREMOR_DEG * fast)).as_matrix()
        poses[:, :, 3] = HAND_DM * np.stack([wander(rng, frames, 3.0) for _ in range(3)], 1)
    elif kind == "pan":
        angle = np.radians(PAN_DEG) * np.sin(2 * np.pi * seconds / PAN_S)
        poses[:, :, :3] = Rotation.from_rotvec(angle[:, None] * (0, 1, 0)).as_matrix()
    elif kind == "zoom":
        views[:, :2] *= 1 + ZOOM * np.sin(2 * np.pi * seconds / ZOOM_S)[:, None]
    elif kind == "follow":
        at = np.stack([project(np.zeros((1, 3)), pose, still)[0] for pose in heads])
        views[:, 2:] += at.mean(axis=0) - at
    return Filming(poses, views)


def _posed_alike(pose: NDArray[np.float64], own: NDArray[np.float64], held: NDArray[np.float64]) -> NDArray[np.float64]:
    """The pose (3, 4) under intrinsics `held` that shows the head where `pose` shows it under `own`."""
    seen = project(_HEAD, pose, own)
    start = pose.copy()
    start[2, 3] *= held[0] / own[0]
    ray = (np.append((project(np.zeros((1, 3)), pose, own)[0] - held[2:]) / held[:2], 1.0)) * start[2, 3]
    start[:, 3] = ray

    def moved(by: NDArray[np.float64]) -> NDArray[np.float64]:
        turn = Rotation.from_rotvec(by[:3]).as_matrix() @ start[:, :3]
        return np.concatenate([turn, (start[:, 3] + by[3:])[:, None]], axis=1)

    found = least_squares(lambda by: (project(_HEAD, moved(by), held) - seen).ravel(), np.zeros(6))
    return moved(found.x)
