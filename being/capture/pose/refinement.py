"""Head poses set right by the head's own points.

The face mesh is one opinion of a network about the whole face: all its landmarks err together. A nod of two degrees may
show as half of that, and in a blink all of them may rise by some pixels. Points of hairline, nose and hair are measured
each by itself, to a few tenths of a pixel. Their places in three dimensions and the poses are solved together; the mesh
then says where the face is on the head, and decides alone in frames with few points.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from being.capture.landmarks.head_shape import RIGID
from being.capture.pose.bundle import Array, Camera, State, errors, fit_shape, solve_each, solve_jointly, solve_smoothly
from being.capture.pose.head_points import HeadPoints
from being.capture.pose.solve import NOISE, WHOLE_DEVIATION, PoseSolution, key_frames, solution

LEAST_POINTS = 12  # followed in a frame, on average; with fewer the mesh has the last word
LEAST_SEEN = 0.3  # share of the frames in which a point must be found to count
NEAR = 12 / 512  # of the picture's width: nearer to a point of the mesh than this is on the face
FACE_STRAY, HAIR_STRAY = 0.05, 0.3  # dm: how well a point's depth is known from the mesh around it
MESH_STRAY = 0.03
HAIR_WEIGHT = 0.3  # hair is not quite fixed to the head
EXACT = 0.6 / 512  # of the picture's width: points that keep to the rigid head this well count in full
LEAST_WEIGHT = 0.02
POINTS_WEIGHT = 40.0  # all points of a frame together, where they are many: their errors are not independent
MESH_WEIGHT = 0.005  # of a landmark of the mesh beside them: with a blink all of them rise by up to four pixels
KEEP = np.radians([0.025, 0.025, 0.05])  # what a frame's turn may stray from the points' turn for smoothness' sake
KEEP_PLACE = np.array([0.00015, 0.00015, 0.003])  # dm, the same of its place
LAST_WEIGHT = 0.3  # of a landmark of the mesh in the end, which counts where points are few
ROUNDS = 6  # of poses and shape in turn
CHUNK = 500  # frames solved at a time


def refine_pose(
    known: PoseSolution,
    points: NDArray[np.float32],
    found: NDArray[np.bool_],
    head: HeadPoints,
    breaks: NDArray[np.bool_] | None = None,
) -> PoseSolution:
    """The solution again, with poses by the head's points; unchanged where there are too few of these.

    Parameters
    ----------
    known : from the mesh alone. points, found : (T, 478, 3), (T,) as `solve_pose` takes them. head : of the same clip.
    breaks : as `solve_pose`.
    """
    steady = head.seen.mean(axis=0) > LEAST_SEEN
    pixels, seen = head.pixels[:, steady].astype(np.float64), head.seen[:, steady] & found[:, None]
    if seen.sum(axis=1).mean() < LEAST_POINTS:
        return known
    camera = Camera(known.cx, known.cy, NOISE * 2 * known.cx)
    poses, rigid = known.poses.astype(np.float64), list(RIGID)
    marks = points[:, rigid, :2].astype(np.float64)
    state = State(known.focal, known.shape[rigid], poses[:, :, :3], poses[:, :, 3])
    followed, firm = _by_points(state, known.shape, marks, found, pixels, seen, head.reference, camera)

    hold = firm[:, None] / np.concatenate([KEEP, KEEP_PLACE]) ** 2
    weights = np.where(found[:, None], LAST_WEIGHT, 0.0) * np.ones(len(rigid))
    state = followed
    keys = key_frames(found)
    for _ in range(ROUNDS):
        state = solve_smoothly(state, marks, weights, camera, followed, hold, breaks)
        at_keys = State(state.focal, state.shape, state.rotations[keys], state.moves[keys])
        shape = fit_shape(at_keys, marks[keys], camera, known.shape[rigid], WHOLE_DEVIATION).shape
        state = State(state.focal, shape, state.rotations, state.moves)
    state = solve_smoothly(state, marks, weights, camera, followed, hold, breaks)
    refined = solution(state, points, found, camera, known.shape)
    return replace(refined, rms_px=known.rms_px, per_frame_rms=known.per_frame_rms)


def _by_points(
    state: State,
    shape: Array,
    marks: Array,
    found: NDArray[np.bool_],
    pixels: Array,
    seen: NDArray[np.bool_],
    reference: int,
    camera: Camera,
) -> tuple[State, Array]:
    """The mesh's rigid landmarks with poses by the head's points, and how firmly these say so (T,), 0 to 1."""
    places, on_face = _places(state, shape, pixels[reference], reference, camera)
    mesh, keys = len(marks[0]), key_frames(found)
    prior = np.concatenate([state.shape, places])
    stray = np.concatenate([np.full(mesh, MESH_STRAY), np.where(on_face, FACE_STRAY, HAIR_STRAY)])
    both = np.concatenate([marks, np.where(seen[..., None], pixels, 0.0)], axis=1)
    own = np.where(on_face, 1.0, HAIR_WEIGHT)
    weights = _weights(own, seen, found, mesh)
    at_keys = State(state.focal, prior, state.rotations[keys], state.moves[keys])
    for _ in range(2):  # the second time points count by how well they kept to the rigid head
        at_keys = solve_jointly(at_keys, both[keys], weights[keys], camera, prior, stray, state.focal, held=True)
        error = np.square(errors(at_keys, both[keys], camera)).sum(-1)[:, mesh:]
        times = np.maximum(seen[keys].sum(axis=0), 1)
        spread = np.sqrt((error * seen[keys]).sum(axis=0) / times)
        exact = np.square(EXACT * 2 * camera.cx / np.maximum(spread, 1e-6))
        own = np.where(on_face, 1.0, HAIR_WEIGHT) * np.clip(exact, LEAST_WEIGHT, 1.0)
        weights = _weights(own, seen, found, mesh)
    nearest = np.abs(np.arange(len(marks))[:, None] - keys[None]).argmin(axis=1)
    rotations, moves = np.empty_like(state.rotations), np.empty_like(state.moves)
    for start in range(0, len(marks), CHUNK):
        part = np.s_[start : start + CHUNK]
        near = nearest[part]
        begun = State(state.focal, at_keys.shape, at_keys.rotations[near], at_keys.moves[near])
        solved = solve_each(begun, both[part], weights[part], camera)
        rotations[part], moves[part] = solved.rotations, solved.moves
    return State(state.focal, at_keys.shape[:mesh], rotations, moves), np.clip(
        seen.sum(axis=1) / LEAST_POINTS - 0.5, 0.0, 1.0
    )


def _weights(own: Array, seen: NDArray[np.bool_], found: NDArray[np.bool_], mesh: int) -> Array:
    """Of the mesh's landmarks and the points (T, K)."""
    usual = float((seen * own).sum(axis=1).mean())
    at_points = seen * own * min(1.0, POINTS_WEIGHT / max(usual, 1e-9))
    return np.concatenate([np.where(found[:, None], MESH_WEIGHT, 0.0) * np.ones(mesh), at_points], axis=1)


def _places(
    state: State, shape: Array, pixels: Array, reference: int, camera: Camera
) -> tuple[Array, NDArray[np.bool_]]:
    """Canonical places (M, 3) of pixels (M, 2) of the reference frame, by the mesh's depth around them; if on it."""
    rotation, move = state.rotations[reference], state.moves[reference]
    at = shape @ rotation.T + move
    middle = np.array([camera.cx, camera.cy])
    away = np.linalg.norm(pixels[:, None] - (state.focal * at[:, :2] / at[:, 2:] + middle), axis=2)
    nearest = np.argsort(away, axis=1)[:, :4]
    weight = 1 / (np.take_along_axis(away, nearest, axis=1) + 1)
    depth = (weight * at[nearest, 2]).sum(axis=1) / weight.sum(axis=1)
    rays = np.concatenate([(pixels - middle) / state.focal, np.ones((len(pixels), 1))], axis=1)
    return (rays * depth[:, None] - move) @ rotation, away.min(axis=1) < NEAR * 2 * camera.cx
