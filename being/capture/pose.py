"""Head pose of every frame, the camera's focal length and the person's rigid shape, by one robust least-squares solve.

First jointly on at most KEY_FRAMES frames: shared log focal length, shared shape, a pose a frame. Then all frames with
focal length and shape held, poses tied to each other by their acceleration. Both are Levenberg-Marquardt with analytic
Jacobians; poses are eliminated from the first (Schur complement) and give a banded system in the second.

A talking head hardly tells its camera's focal length (0.8 to 5 picture widths change the error by 0.06 px), hence the
strong prior at 1.6 widths; `focal` overrides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag, cho_factor, cho_solve, solveh_banded
from scipy.spatial.transform import Rotation

from being.capture.head_shape import OUTER_EYES, OUTER_EYES_DM, RIGID, own_shape
from being.errors import InputError

Array = NDArray[np.float64]

KEY_FRAMES = 150
FOCAL_PRIOR = 1.6  # picture widths
FOCAL_DEVIATION = 0.05  # of its logarithm
SHAPE_DEVIATION = 0.05  # dm: what a landmark may stray from the mean mesh
NOISE = 0.8 / 512  # of the picture's width: deviation of a landmark
HUBER = 2.5  # deviations of the noise beyond which a landmark counts less
TURN_DEVIATION = np.radians([0.025, 0.025, 0.35])  # of the change of the turning speed: pitch, yaw, roll, a frame
MOVE_DEVIATION = np.array([0.01, 0.01, 0.05])  # dm, the same of moving across, up and away
JERK = 6.0  # deviations of acceleration beyond which a true jolt is assumed
LEAST_FRAMES = 3


@dataclass(frozen=True)
class PoseSolution:
    """What `solve_pose` found.

    Attributes
    ----------
    focal, cx, cy : camera, pixels.
    shape : float64 (478, 3) canonical dm (x image right, y up, z to the viewer): the face at rest, on average.
    poses : float32 (T, 3, 4), x_cam = R x + t into an OpenCV camera.
    rms_px : root mean square distance of the rigid landmarks, pixels. per_frame_rms : float32 (T,), NaN where no face
        was found.
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
) -> PoseSolution:
    """Solve a clip.

    Parameters
    ----------
    points : (T, 478, 3) pixels as `Track.points`. found : (T,) where they are measured; elsewhere the pose is carried
        over by smoothness.
    width, height : of the picture; its middle is the optical axis.
    focal : pixels, where the camera is known.

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
    camera = _Camera(width / 2, height / 2, NOISE * width)
    keys = seen[np.unique(np.linspace(0, len(seen) - 1, min(len(seen), KEY_FRAMES)).round().astype(int))]
    start = own_shape(points[keys].astype(np.float64))
    rigid = list(RIGID)
    marks = points[:, rigid, :2].astype(np.float64)

    guess = focal or FOCAL_PRIOR * width
    state = _State(
        guess, start.shape[rigid], *_from_alignment(start.rotations, start.scales, start.offsets, guess, camera)
    )
    weights = np.ones(len(rigid))
    for _ in range(2):  # the second time landmarks count by how well they kept to the rigid shape
        state = _solve_jointly(state, marks[keys], weights, camera, start.shape[rigid], guess, held=focal is not None)
        error = np.square(_errors(state, marks[keys], camera)).sum(-1).mean(axis=0)
        weights = np.clip(np.median(error) / np.maximum(error, 1e-12), 0.1, 4.0)

    nearest = np.abs(np.arange(len(points))[:, None] - keys[None]).argmin(axis=1)
    state = _State(state.focal, state.shape, state.rotations[nearest], state.moves[nearest])
    state = _solve_each(state, marks, weights * found[:, None], camera)
    state = _solve_smoothly(state, marks, weights * found[:, None], camera)

    whole = _whole_shape(state, points[keys, :, :2].astype(np.float64), keys, camera, start.shape)
    scale = OUTER_EYES_DM / np.linalg.norm(whole[OUTER_EYES[0]] - whole[OUTER_EYES[1]])  # the solve lets it drift
    distance = np.square(_errors(state, marks, camera)).sum(-1).mean(axis=1)
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


@dataclass(frozen=True)
class _Camera:
    cx: float
    cy: float
    noise: float  # deviation of a landmark, px


@dataclass(frozen=True)
class _State:
    """focal px; shape (K, 3) dm; rotations (N, 3, 3); moves (N, 3) dm."""

    focal: float
    shape: Array
    rotations: Array
    moves: Array

    def stepped(self, step: Array, shape: Array | None = None, log_focal: float = 0.0) -> _State:
        """Pose steps (N, 6): a turn in camera axes, then a move."""
        turned = Rotation.from_rotvec(step[:, :3]).as_matrix() @ self.rotations
        moved = self.shape if shape is None else self.shape + shape
        return _State(self.focal * float(np.exp(log_focal)), moved, turned, self.moves + step[:, 3:])


def _from_alignment(
    rotations: Array, scales: Array, offsets: Array, focal: float, camera: _Camera
) -> tuple[Array, Array]:
    """Weak perspective -> perspective: the shape's origin at the depth where it has that many pixels a dm."""
    depth = focal / scales
    across = (offsets[:, :2] - np.array([camera.cx, camera.cy])) * (depth / focal)[:, None]
    return rotations, np.concatenate([across, depth[:, None]], axis=1)


def _in_camera(state: _State) -> Array:
    return np.einsum("nij,kj->nki", state.rotations, state.shape) + state.moves[:, None]


def _errors(state: _State, marks: Array, camera: _Camera) -> Array:
    """Projected minus measured (N, K, 2), pixels."""
    at = _in_camera(state)
    return state.focal * at[..., :2] / at[..., 2:] + np.array([camera.cx, camera.cy]) - marks


def _huber(distance: Array, limit: float) -> tuple[Array, Array]:
    """(cost, weight of the quadratic that touches it) of distances in deviations."""
    inside = distance <= limit
    cost = np.where(inside, distance**2, 2 * limit * distance - limit**2)
    return cost, np.where(inside, 1.0, limit / np.maximum(distance, 1e-12))


def _data_cost(state: _State, marks: Array, weights: Array, camera: _Camera) -> Array:
    """Cost of each frame (N,). A face behind the camera costs infinitely much."""
    distance = np.linalg.norm(_errors(state, marks, camera), axis=-1) / camera.noise
    cost = (_huber(distance, HUBER)[0] * weights).sum(axis=-1)
    return np.where((_in_camera(state)[..., 2] > 0.1).all(axis=-1), cost, np.inf)


@dataclass(frozen=True)
class _Linear:
    """The data term linearised at a state.

    error (N, K, 2) and its weight (N, K); Jacobians to the pose (N, K, 2, 6), to the point in camera axes (N, K, 2, 3)
    and to the log focal length (N, K, 2).
    """

    error: Array
    weight: Array
    pose: Array
    point: Array
    log_focal: Array

    def normal(self) -> tuple[Array, Array]:
        """Blocks (N, 6, 6) and gradients (N, 6) of the poses."""
        weighted = self.pose * self.weight[..., None, None]
        return np.einsum("nkia,nkib->nab", weighted, self.pose), np.einsum("nkia,nki->na", weighted, self.error)


def _linearised(state: _State, marks: Array, weights: Array, camera: _Camera) -> _Linear:
    error = _errors(state, marks, camera)
    weight = weights * _huber(np.linalg.norm(error, axis=-1) / camera.noise, HUBER)[1] / camera.noise**2
    at = _in_camera(state)
    x, y, z = np.moveaxis(at, -1, 0)
    point = np.zeros((*at.shape[:2], 2, 3))
    point[..., 0, 0] = point[..., 1, 1] = state.focal / z
    point[..., 0, 2], point[..., 1, 2] = -state.focal * x / z**2, -state.focal * y / z**2
    arm = at - state.moves[:, None]  # d(exp(w) arm)/dw = -[arm]x, so each row p of `point` gives arm x p
    turn = np.cross(arm[:, :, None, :], point)
    return _Linear(
        error, weight, np.concatenate([turn, point], axis=-1), point, state.focal * at[..., :2] / z[..., None]
    )


def _solve_jointly(
    state: _State, marks: Array, weights: Array, camera: _Camera, prior: Array, focal_prior: float, held: bool
) -> _State:
    """Focal length, shape and poses of the key frames (N, K, 2) together. `held`: the focal length is known."""
    count, deviation = len(prior), 1e-4 if held else FOCAL_DEVIATION

    def cost(s: _State) -> float:
        shape = np.square((s.shape - prior) / SHAPE_DEVIATION).sum()
        return float(
            _data_cost(s, marks, weights, camera).sum() + shape + (np.log(s.focal / focal_prior) / deviation) ** 2
        )

    now, damping = cost(state), 1e-3
    for _ in range(40):
        linear = _linearised(state, marks, weights, camera)
        blocks, pull = linear.normal()
        by_shape = np.einsum("nkia,nab->nkib", linear.point, state.rotations)
        weighted = by_shape * linear.weight[..., None, None]
        shared = np.zeros((3 * count + 1, 3 * count + 1))
        on_points = np.einsum("nkia,nkib->kab", weighted, by_shape) + np.eye(3) / SHAPE_DEVIATION**2
        shared[:-1, :-1] = block_diag(*on_points)
        shared[-1, :-1] = shared[:-1, -1] = np.einsum("nkia,nki->ka", weighted, linear.log_focal).ravel()
        shared[-1, -1] = (linear.weight[..., None] * linear.log_focal**2).sum() + 1 / deviation**2
        shared_pull = np.append(
            np.einsum("nkia,nki->ka", weighted, linear.error) + (state.shape - prior) / SHAPE_DEVIATION**2,
            (linear.weight[..., None] * linear.log_focal * linear.error).sum()
            + np.log(state.focal / focal_prior) / deviation**2,
        )
        weighted_pose = linear.pose * linear.weight[..., None, None]
        across = np.concatenate(
            [
                np.einsum("nkia,nkib->nakb", weighted_pose, by_shape).reshape(len(marks), 6, 3 * count),
                np.einsum("nkia,nki->na", weighted_pose, linear.log_focal)[..., None],
            ],
            axis=-1,
        )
        better = None
        while better is None and damping < 1e8:
            inverse = np.linalg.inv(_damped(blocks, damping))
            eliminated = (inverse @ across).reshape(-1, 3 * count + 1)
            system = shared + damping * np.diag(np.diag(shared)) - across.reshape(eliminated.shape).T @ eliminated
            common = -cho_solve(cho_factor(system), shared_pull - eliminated.T @ pull.ravel())
            step = -np.einsum("nab,nb->na", inverse, pull + across @ common)
            tried = state.stepped(step, common[:-1].reshape(count, 3), float(np.clip(common[-1], -0.3, 0.3)))
            after = cost(tried)
            if after < now:
                better = tried
                damping = max(damping / 4, 1e-9)
            else:
                damping *= 5
        if better is None:
            return state
        gain, now, state = (now - after) / now, after, better
        if gain < 1e-6:
            return state
    return state


def _solve_each(state: _State, marks: Array, weights: Array, camera: _Camera) -> _State:
    """Every frame by itself, a few steps: a start for the smooth solve. Frames without weight keep their pose."""
    damping = np.full(len(marks), 1e-3)
    now = _data_cost(state, marks, weights, camera)
    for _ in range(8):
        blocks, pull = _linearised(state, marks, weights, camera).normal()
        stable = _damped(blocks, damping[:, None, None]) + 1e-6 * np.eye(6)
        tried = state.stepped(-np.linalg.solve(stable, pull[..., None])[..., 0])
        after = _data_cost(tried, marks, weights, camera)
        good = after < now
        state = _State(
            state.focal,
            state.shape,
            np.where(good[:, None, None], tried.rotations, state.rotations),
            np.where(good[:, None], tried.moves, state.moves),
        )
        damping, now = np.where(good, damping / 4, damping * 10), np.where(good, after, now)
    return state


def _solve_smoothly(state: _State, marks: Array, weights: Array, camera: _Camera) -> _State:
    """All frames together: data and acceleration. Focal length and shape stay."""
    per = 1 / np.concatenate([TURN_DEVIATION, MOVE_DEVIATION])

    def bends(s: _State) -> Array:
        """(N - 2, 6) accelerations in deviations."""
        turns = Rotation.from_matrix(s.rotations[1:] @ s.rotations[:-1].transpose(0, 2, 1)).as_rotvec()
        return np.concatenate([np.diff(turns, axis=0), np.diff(s.moves, 2, axis=0)], axis=1) * per

    def cost(s: _State) -> float:
        stray = np.linalg.norm(bends(s), axis=1)
        return float(_data_cost(s, marks, weights, camera).sum() + _huber(stray, JERK)[0].sum())

    now, damping = cost(state), 1e-6
    for _ in range(20):
        blocks, pull = _linearised(state, marks, weights, camera).normal()
        bend = bends(state)
        hold = _huber(np.linalg.norm(bend, axis=1), JERK)[1]
        step_for = _Banded(blocks, hold, per**2)
        force = pull + _spread(hold[:, None] * bend * per, len(marks))
        better = None
        while better is None and damping < 1e8:
            tried = state.stepped(-step_for(force, damping))
            after = cost(tried)
            if after < now:
                better = tried
                damping = max(damping / 4, 1e-9)
            else:
                damping *= 10
        if better is None:
            return state
        gain, now, state = (now - after) / max(now, 1e-12), after, better
        if gain < 1e-6:
            return state
    return state


def _spread(bend: Array, count: int) -> Array:
    """The transpose of taking second differences: (N - 2, 6) -> (N, 6)."""
    force = np.zeros((count, bend.shape[1]))
    force[:-2] += bend
    force[1:-1] -= 2 * bend
    force[2:] += bend
    return force


class _Banded:
    """Solver of (pose blocks + second differences weighted by `hold` and `per`) x = b; 17 bands over the diagonal."""

    def __init__(self, blocks: Array, hold: Array, per: Array) -> None:
        count = len(blocks)
        self._bands = np.zeros((18, 6 * count))  # row 17 - d holds the d-th band: element (i, i + d) at column i + d
        weight = np.zeros(count + 2)  # weight[i + 2] belongs to the second difference that begins at frame i
        weight[2:count] = hold
        diagonal = weight[2:] + 4 * weight[1:-1] + weight[:-2]
        beside = -2 * (weight[2:-1] + weight[1:-2])
        beyond = weight[2:-2]
        self._put(0, diagonal[:, None] * per)
        self._put(6, np.concatenate([np.zeros((1, 6)), beside[:, None] * per]))
        self._put(12, np.concatenate([np.zeros((2, 6)), beyond[:, None] * per]))
        for d in range(6):
            values = np.zeros((count, 6))
            for column in range(d, 6):
                values[:, column] = blocks[:, column - d, column]
            self._put(d, values)

    def _put(self, band: int, values: Array) -> None:
        self._bands[17 - band] += values.ravel()

    def __call__(self, force: Array, damping: float) -> Array:
        bands = self._bands.copy()
        bands[17] *= 1 + damping
        return solveh_banded(bands, force.ravel(), check_finite=False).reshape(force.shape)


def _damped(blocks: Array, damping: float | Array) -> Array:
    return blocks + damping * (blocks * np.eye(6))


def _whole_shape(state: _State, marks: Array, keys: NDArray[np.int64], camera: _Camera, prior: Array) -> Array:
    """Every point of the mesh (P, 3) where the key frames (N, P, 2) see it on average, near its place in the mean mesh.

    The rigid landmarks keep the places the solve gave them.
    """
    poses = _State(state.focal, prior, state.rotations[keys], state.moves[keys])
    everywhere = np.ones(len(prior))
    for _ in range(4):
        linear = _linearised(poses, marks, everywhere, camera)
        by_shape = np.einsum("nkia,nab->nkib", linear.point, poses.rotations)
        weighted = by_shape * linear.weight[..., None, None]
        system = np.einsum("nkia,nkib->kab", weighted, by_shape) + np.eye(3) / SHAPE_DEVIATION**2
        pull = np.einsum("nkia,nki->ka", weighted, linear.error) + (poses.shape - prior) / SHAPE_DEVIATION**2
        poses = poses.stepped(np.zeros((len(keys), 6)), -np.linalg.solve(system, pull[..., None])[..., 0])
    whole = poses.shape.copy()
    whole[list(RIGID)] = state.shape
    return whole
