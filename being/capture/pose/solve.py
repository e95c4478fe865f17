"""Head pose of every frame, the camera's focal length and the person's rigid shape, from the face mesh.

First jointly on at most KEY_FRAMES frames: shared log focal length, shared shape, a pose a frame. Then all frames with
focal length and shape held, poses tied to each other by their acceleration.

The mesh is a network's opinion of the whole face: it follows a nod by halves and rises with a blink.
`being.capture.pose.refinement` sets the poses to what points of the head itself say.

A talking head hardly tells its camera's focal length (0.8 to 5 picture widths change the error by 0.06 px), hence the
strong prior at 1.6 widths; `focal` overrides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from being.capture.landmarks.head_shape import OUTER_EYES, OUTER_EYES_DM, RIGID, own_shape
from being.capture.pose.bundle import Array, Camera, State, errors, fit_shape, solve_each, solve_jointly, solve_smoothly
from being.errors import InputError

KEY_FRAMES = 150
FOCAL_PRIOR = 1.6  # picture widths
SHAPE_DEVIATION = 0.015  # dm: what a landmark may stray from the mean mesh; its depth is right, its motion is damped
WHOLE_DEVIATION = 0.05  # dm, the same of all the mesh when the poses are known
NOISE = 0.8 / 512  # of the picture's width: deviation of a landmark
LEAST_FRAMES = 3


@dataclass(frozen=True)
class PoseSolution:
    """What `solve_pose` found.

    Attributes
    ----------
    focal, cx, cy : camera, pixels.
    shape : float64 (478, 3) canonical dm (x image right, y up, z to the viewer): the face at rest, on average.
    poses : float32 (T, 3, 4), x_cam = R x + t into an OpenCV camera.
    rms_px : root mean square distance of the rigid landmarks under the poses that fit them best, pixels.
    per_frame_rms : float32 (T,), the same of each frame, NaN where no face was found.
    """

    focal: float
    cx: float
    cy: float
    shape: Array
    poses: NDArray[np.float32]
    rms_px: float
    per_frame_rms: NDArray[np.float32]


def solve_pose(
    points: NDArray[np.float32],
    found: NDArray[np.bool_],
    width: int,
    height: int,
    focal: float | None = None,
    breaks: NDArray[np.bool_] | None = None,
) -> PoseSolution:
    """Solve a clip.

    Parameters
    ----------
    points : (T, 478, 3) pixels as `Track.points`. found : (T,) where they are measured; elsewhere the pose is carried
        over by smoothness.
    width, height : of the picture; its middle is the optical axis.
    focal : pixels, where the camera is known. breaks : (T - 1,) frames after which time does not go on.

    Raises
    ------
    InputError
        Fewer than three frames with a face, or a focal length that makes no sense.
    """
    seen = np.flatnonzero(found)
    if len(seen) < LEAST_FRAMES:
        raise InputError(f"A face in {len(seen)} frames only, {LEAST_FRAMES} are needed", "Film the face for longer")
    if focal is not None and not (np.isfinite(focal) and focal > 0.1 * width):
        raise InputError(f"focal is {focal:g} for a picture {width} wide", "Give pixels; 1.6 widths are usual")
    camera = Camera(width / 2, height / 2, NOISE * width)
    keys = key_frames(found)
    start = own_shape(points[keys].astype(np.float64))
    rigid = list(RIGID)
    marks = points[:, rigid, :2].astype(np.float64)

    guess = focal or FOCAL_PRIOR * width
    state = State(
        guess, start.shape[rigid], *_from_alignment(start.rotations, start.scales, start.offsets, guess, camera)
    )
    weights, stray = np.ones(len(rigid)), np.full(len(rigid), SHAPE_DEVIATION)
    for _ in range(2):  # the second time landmarks count by how well they kept to the rigid shape
        state = solve_jointly(
            state, marks[keys], weights, camera, start.shape[rigid], stray, guess, held=focal is not None
        )
        error = np.square(errors(state, marks[keys], camera)).sum(-1).mean(axis=0)
        weights = np.clip(np.median(error) / np.maximum(error, 1e-12), 0.1, 4.0)

    nearest = np.abs(np.arange(len(points))[:, None] - keys[None]).argmin(axis=1)
    state = State(state.focal, state.shape, state.rotations[nearest], state.moves[nearest])
    state = solve_each(state, marks, weights * found[:, None], camera)
    state = solve_smoothly(state, marks, weights * found[:, None], camera, breaks=breaks)

    return solution(state, points, found, camera, start.shape)


def solution(
    state: State, points: NDArray[np.float32], found: NDArray[np.bool_], camera: Camera, prior: Array
) -> PoseSolution:
    """What is told of a solved clip: `state` holds rigid landmarks and poses; `prior` (478, 3) the mean mesh."""
    seen, rigid = np.flatnonzero(found), list(RIGID)
    keys = key_frames(found)
    whole = fit_shape(
        State(state.focal, prior, state.rotations[keys], state.moves[keys]),
        points[keys, :, :2].astype(np.float64),
        camera,
        prior,
        WHOLE_DEVIATION,
    ).shape
    whole[rigid] = state.shape  # these keep the places the solve gave them
    scale = OUTER_EYES_DM / np.linalg.norm(whole[OUTER_EYES[0]] - whole[OUTER_EYES[1]])  # the solve lets it drift
    distance = np.square(errors(state, points[:, rigid, :2].astype(np.float64), camera)).sum(-1).mean(axis=1)
    poses = np.concatenate([state.rotations, scale * state.moves[..., None]], axis=-1)
    return PoseSolution(
        focal=state.focal,
        cx=camera.cx,
        cy=camera.cy,
        shape=scale * whole,
        poses=poses.astype(np.float32),
        rms_px=float(np.sqrt(distance[seen].mean())),
        per_frame_rms=np.where(found, np.sqrt(distance), np.nan).astype(np.float32),
    )


def key_frames(found: NDArray[np.bool_]) -> NDArray[np.int64]:
    """At most KEY_FRAMES frames with a face, spread over the clip."""
    seen = np.flatnonzero(found)
    return seen[np.unique(np.linspace(0, len(seen) - 1, min(len(seen), KEY_FRAMES)).round().astype(int))]


def ordinary_frame(poses: Array) -> int:
    """The number of the frame whose pose (T, 3, 4) is nearest to the middle of them all."""
    return ordinary_frames(poses, 1)[0]


def ordinary_frames(poses: Array, most: int) -> list[int]:
    """The numbers of the frames whose poses (T, 3, 4) are nearest to the middle of them all, nearest first."""
    flat = np.concatenate([10 * poses[:, :, :3].reshape(len(poses), 9), poses[:, :, 3]], axis=1)
    away = np.linalg.norm(flat - np.median(flat, axis=0), axis=1)
    return [int(index) for index in np.argsort(away, kind="stable")[:most]]


def _from_alignment(
    rotations: Array, scales: Array, offsets: Array, focal: float, camera: Camera
) -> tuple[Array, Array]:
    """Weak perspective -> perspective: the shape's origin at the depth where it has that many pixels a dm."""
    depth = focal / scales
    across = (offsets[:, :2] - np.array([camera.cx, camera.cy])) * (depth / focal)[:, None]
    return rotations, np.concatenate([across, depth[:, None]], axis=1)
