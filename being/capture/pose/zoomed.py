"""Head poses under a camera that zooms.

Pixels are brought to one focal length for the solve; then every pose is told as the avatar's camera of one focal length
has it: the one that shows the head where it was seen.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from being.capture.pose.bundle import Array, Camera, State, solve_each
from being.capture.pose.solve import NOISE, PoseSolution

# Points all through a head, canonical dm: of the whole of it, not of the face alone, the pose is told.
HEAD = np.array([(x, y, z) for x in (-0.7, 0, 0.7) for y in (-0.8, 0, 0.8) for z in (-0.1, 0.35, 0.8)], np.float64)


def without_zoom(points: NDArray[np.float32], zoom: Array, width: int, height: int) -> NDArray[np.float32]:
    """Points (T, K, 2 or 3), x and y pixels, as they would be at the usual focal length; zoom (T,)."""
    middle = np.array([width / 2, height / 2])
    out = points.astype(np.float64)
    out[..., :2] = middle + (out[..., :2] - middle) / zoom[:, None, None]
    if out.shape[-1] > 2:
        out[..., 2] /= zoom[:, None]  # depths are in pixels, too
    return out.astype(np.float32)


def of_one_camera(solution: PoseSolution, zoom: Array) -> PoseSolution:
    """A solution of points without zoom, its poses (T, 3, 4) as a camera that does not zoom has them."""
    poses = solution.poses.astype(np.float64)
    at = np.einsum("tij,kj->tki", poses[:, :, :3], HEAD) + poses[:, None, :, 3]
    middle = np.array([solution.cx, solution.cy])
    marks = middle + zoom[:, None, None] * solution.focal * at[..., :2] / at[..., 2:]
    moves = poses[:, :, 3].copy()
    moves[:, 2] /= zoom
    camera = Camera(solution.cx, solution.cy, NOISE * 2 * solution.cx)
    state = State(solution.focal, HEAD, poses[:, :, :3], moves)
    state = solve_each(state, marks, np.ones(marks.shape[:2]), camera)
    told = np.concatenate([state.rotations, state.moves[..., None]], axis=-1)
    return replace(solution, poses=told.astype(np.float32))
