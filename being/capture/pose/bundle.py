"""Poses of a rigid shape, and the shape, from where its points are seen: robust least squares.

Levenberg-Marquardt with analytic Jacobians throughout. Solved together, the poses are eliminated (Schur complement);
tied to each other by their acceleration, they give a banded system.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag, cho_factor, cho_solve, solveh_banded
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]

HUBER = 2.5  # deviations of the noise beyond which a point counts less
TURN_DEVIATION = np.radians([0.05, 0.05, 0.35])  # of the change of the turning speed: pitch, yaw, roll, a frame
MOVE_DEVIATION = np.array([0.01, 0.01, 0.05])  # dm, the same of moving across, up and away
JERK = 6.0  # deviations of acceleration beyond which a true jolt is assumed
FOCAL_DEVIATION = 0.01  # of its logarithm


@dataclass(frozen=True)
class Camera:
    cx: float
    cy: float
    noise: float  # deviation of a landmark, px


@dataclass(frozen=True)
class State:
    """focal px; shape (K, 3) dm; rotations (N, 3, 3); moves (N, 3) dm."""

    focal: float
    shape: Array
    rotations: Array
    moves: Array

    def stepped(self, step: Array, shape: Array | None = None, log_focal: float = 0.0) -> State:
        """Pose steps (N, 6): a turn in camera axes, then a move."""
        turned = Rotation.from_rotvec(step[:, :3]).as_matrix() @ self.rotations
        moved = self.shape if shape is None else self.shape + shape
        return State(self.focal * float(np.exp(log_focal)), moved, turned, self.moves + step[:, 3:])


def _in_camera(state: State) -> Array:
    return np.einsum("nij,kj->nki", state.rotations, state.shape) + state.moves[:, None]


def errors(state: State, marks: Array, camera: Camera) -> Array:
    """Projected minus measured (N, K, 2), pixels."""
    at = _in_camera(state)
    return state.focal * at[..., :2] / at[..., 2:] + np.array([camera.cx, camera.cy]) - marks


def _huber(distance: Array, limit: float) -> tuple[Array, Array]:
    """(cost, weight of the quadratic that touches it) of distances in deviations."""
    inside = distance <= limit
    cost = np.where(inside, distance**2, 2 * limit * distance - limit**2)
    return cost, np.where(inside, 1.0, limit / np.maximum(distance, 1e-12))


def data_cost(state: State, marks: Array, weights: Array, camera: Camera) -> Array:
    """Cost of each frame (N,). A face behind the camera costs infinitely much."""
    distance = np.linalg.norm(errors(state, marks, camera), axis=-1) / camera.noise
    cost = (_huber(distance, HUBER)[0] * weights).sum(axis=-1)
    return np.where((_in_camera(state)[..., 2] > 0.1).all(axis=-1), cost, np.inf)


@dataclass(frozen=True)
class Linear:
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


def linearised(state: State, marks: Array, weights: Array, camera: Camera) -> Linear:
    error = errors(state, marks, camera)
    weight = weights * _huber(np.linalg.norm(error, axis=-1) / camera.noise, HUBER)[1] / camera.noise**2
    at = _in_camera(state)
    x, y, z = np.moveaxis(at, -1, 0)
    point = np.zeros((*at.shape[:2], 2, 3))
    point[..., 0, 0] = point[..., 1, 1] = state.focal / z
    point[..., 0, 2], point[..., 1, 2] = -state.focal * x / z**2, -state.focal * y / z**2
    arm = at - state.moves[:, None]  # d(exp(w) arm)/dw = -[arm]x, so each row p of `point` gives arm x p
    turn = np.cross(arm[:, :, None, :], point)
    return Linear(
        error, weight, np.concatenate([turn, point], axis=-1), point, state.focal * at[..., :2] / z[..., None]
    )


def solve_jointly(
    state: State,
    marks: Array,
    weights: Array,
    camera: Camera,
    prior: Array,
    stray: Array,
    focal_prior: float,
    held: bool,
) -> State:
    """Focal length, shape and poses of key frames (N, K, 2) together.

    prior : (K, 3) where the points are expected; stray (K,) their deviations from it, dm. held : the focal length is
    known.
    """
    count, deviation = len(prior), 1e-4 if held else FOCAL_DEVIATION
    per = 1 / stray[:, None]

    def cost(s: State) -> float:
        shape = np.square((s.shape - prior) * per).sum()
        return float(
            data_cost(s, marks, weights, camera).sum() + shape + (np.log(s.focal / focal_prior) / deviation) ** 2
        )

    now, damping = cost(state), 1e-3
    for _ in range(40):
        linear = linearised(state, marks, weights, camera)
        blocks, pull = linear.normal()
        by_shape = np.einsum("nkia,nab->nkib", linear.point, state.rotations)
        weighted = by_shape * linear.weight[..., None, None]
        shared = np.zeros((3 * count + 1, 3 * count + 1))
        on_points = np.einsum("nkia,nkib->kab", weighted, by_shape) + np.eye(3) * per[..., None] ** 2
        shared[:-1, :-1] = block_diag(*on_points)
        shared[-1, :-1] = shared[:-1, -1] = np.einsum("nkia,nki->ka", weighted, linear.log_focal).ravel()
        shared[-1, -1] = (linear.weight[..., None] * linear.log_focal**2).sum() + 1 / deviation**2
        shared_pull = np.append(
            np.einsum("nkia,nki->ka", weighted, linear.error) + (state.shape - prior) * per**2,
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


def solve_each(state: State, marks: Array, weights: Array, camera: Camera) -> State:
    """Every frame by itself, a few steps: a start for the smooth solve. Frames without weight keep their pose."""
    damping = np.full(len(marks), 1e-3)
    now = data_cost(state, marks, weights, camera)
    for _ in range(8):
        blocks, pull = linearised(state, marks, weights, camera).normal()
        stable = _damped(blocks, damping[:, None, None]) + 1e-6 * np.eye(6)
        tried = state.stepped(-np.linalg.solve(stable, pull[..., None])[..., 0])
        after = data_cost(tried, marks, weights, camera)
        good = after < now
        state = State(
            state.focal,
            state.shape,
            np.where(good[:, None, None], tried.rotations, state.rotations),
            np.where(good[:, None], tried.moves, state.moves),
        )
        damping, now = np.where(good, damping / 4, damping * 10), np.where(good, after, now)
    return state


def solve_smoothly(
    state: State,
    marks: Array,
    weights: Array,
    camera: Camera,
    anchor: State | None = None,
    hold: Array | None = None,
    breaks: NDArray[np.bool_] | None = None,
) -> State:
    """All frames together: data and acceleration. Focal length and shape stay.

    breaks : (N - 1,) frames after which time does not go on: no acceleration is known across.
    anchor : poses known from elsewhere; hold (N, 6) how firmly to keep to them, 1 / deviation^2 of a turn about the
    camera's axes, 1 / radian^2, and of a move along them, 1 / dm^2.
    """
    per = 1 / np.concatenate([TURN_DEVIATION, MOVE_DEVIATION])
    known = state if anchor is None else anchor
    firm = np.zeros((len(marks), 6)) if hold is None else hold
    tied = np.ones(max(len(marks) - 2, 0)) if breaks is None else 1.0 - (breaks[:-1] | breaks[1:])

    def bends(s: State) -> Array:
        """(N - 2, 6) accelerations in deviations; none across a break."""
        turns = _turn_between(s.rotations[:-1], s.rotations[1:])
        bend = np.concatenate([np.diff(turns, axis=0), np.diff(s.moves, 2, axis=0)], axis=1) * per
        return bend * tied[:, None]

    def cost(s: State) -> float:
        stray = np.linalg.norm(bends(s), axis=1)
        kept = (_between(known, s) ** 2 * firm).sum()
        return float(data_cost(s, marks, weights, camera).sum() + _huber(stray, JERK)[0].sum() + kept)

    now, damping = cost(state), 1e-6
    for _ in range(20):
        blocks, pull = linearised(state, marks, weights, camera).normal()
        blocks[:, range(6), range(6)] += firm
        pull += firm * _between(known, state)
        bend = bends(state)
        steady = tied * _huber(np.linalg.norm(bend, axis=1), JERK)[1]
        step_for = _Banded(blocks, steady, per**2)
        force = pull + _spread(steady[:, None] * bend * per, len(marks))
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


def fit_shape(state: State, marks: Array, camera: Camera, prior: Array, stray: float) -> State:
    """The points (K, 3) where the frames (N, K, 2) see them on average, poses held; `stray` as in `solve_jointly`."""
    everywhere = np.ones(len(prior))
    state = State(state.focal, prior, state.rotations, state.moves)
    for _ in range(4):
        linear = linearised(state, marks, everywhere, camera)
        by_shape = np.einsum("nkia,nab->nkib", linear.point, state.rotations)
        weighted = by_shape * linear.weight[..., None, None]
        system = np.einsum("nkia,nkib->kab", weighted, by_shape) + np.eye(3) / stray**2
        pull = np.einsum("nkia,nki->ka", weighted, linear.error) + (state.shape - prior) / stray**2
        state = state.stepped(np.zeros((len(marks), 6)), -np.linalg.solve(system, pull[..., None])[..., 0])
    return state


def _between(start: State, end: State) -> Array:
    """(N, 6) turns about the camera's axes, then moves."""
    return np.concatenate([_turn_between(start.rotations, end.rotations), end.moves - start.moves], axis=1)


def _turn_between(start: Array, end: Array) -> Array:
    """Rotation vectors (N, 3) about the camera's axes."""
    return Rotation.from_matrix(end @ start.transpose(0, 2, 1)).as_rotvec()


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
