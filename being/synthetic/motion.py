"""Everything that is not speech: blinks, looks, the head's and the torso's small motion, breathing.

It does not depend on what is said, except that the head nods a little on stressed syllables. Gaze mostly keeps to the
camera while the head turns, as people's does; brows follow the head's pitch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from being.dataset.pose import FLIP
from being.synthetic import rig

FPS = 25
NECK_PIVOT = np.array([0.0, -0.72, -0.22])  # head space: where the head turns on the neck
TORSO_PIVOT = np.array([0.0, -3.2, -0.4])
BLINK_CLOSE_S, BLINK_HOLD_S, BLINK_OPEN_S = 0.08, 0.04, 0.12


@dataclass(frozen=True)
class Motion:
    """Curves of T frames."""

    blink: NDArray[np.float64]  # (T,) 0 open .. 1 closed, both eyes
    gaze: NDArray[np.float64]  # (T, 2) radians in head space: to the image right, up
    brow: NDArray[np.float64]  # (T,)
    head: NDArray[np.float64]  # (T, 3, 4)
    torso: NDArray[np.float64]  # (T, 3, 4)


def wander(rng: np.random.Generator, frames: int, period_s: float) -> NDArray[np.float64]:
    """Smooth noise (T,) of unit deviation whose swings last about period_s."""
    sigma = period_s * FPS / 4.0
    reach = int(4 * sigma) + 1
    noise = rng.standard_normal(frames + 2 * reach)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(noise, kernel / np.sqrt(np.square(kernel).sum()), "valid")


def blinks(rng: np.random.Generator, frames: int) -> NDArray[np.float64]:
    """Closure (T,): a blink every 2 to 6 seconds, about 200 ms long, closing faster than it opens."""
    times = (np.arange(frames) + 0.5) / FPS
    closure = np.zeros(frames)
    at = rng.uniform(0.8, 3.0)
    while at < times[-1] if frames else False:
        start, held = at, at + BLINK_CLOSE_S
        rise = np.clip((times - start) / BLINK_CLOSE_S, 0, 1)
        fall = np.clip((held + BLINK_HOLD_S + BLINK_OPEN_S - times) / BLINK_OPEN_S, 0, 1)
        closure = np.maximum(closure, np.minimum(rise, fall) ** 0.8)
        at += rng.uniform(2.0, 6.0) if rng.random() > 0.08 else 0.45
    return closure


def saccades(rng: np.random.Generator, frames: int) -> NDArray[np.float64]:
    """Small looks aside (T, 2), radians: mostly at the viewer, quick to move, still between."""
    look = np.zeros((frames, 2))
    at, end = 0, frames
    target = np.zeros(2)
    while at < end:
        last = min(end, at + int(rng.uniform(0.7, 2.6) * FPS))
        look[at:last] = target
        target = rng.normal(0.0, (0.045, 0.022)) if rng.random() < 0.6 else np.zeros(2)
        at = last
    padded = np.pad(look, ((1, 1), (0, 0)), mode="edge")
    return 0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:]


def nods(stress_s: Sequence[float], rng: np.random.Generator, frames: int) -> NDArray[np.float64]:
    """Downward nods (T,) in [0, 1] on some stressed syllables, about 0.4 s each."""
    times = (np.arange(frames) + 0.5) / FPS
    nod = np.zeros(frames)
    last = -1.0
    for at in stress_s:
        if at - last < 0.7 or rng.random() < 0.35:
            continue
        last = at
        nod += rng.uniform(0.4, 1.0) * np.exp(-0.5 * ((times - at - 0.06) / 0.13) ** 2)
    return nod


def _rotation(pitch: NDArray[np.float64], yaw: NDArray[np.float64], roll: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rx(pitch) Ry(yaw) Rz(roll) (T, 3, 3) of angles in radians; positive pitch looks down."""
    zero, one = np.zeros_like(pitch), np.ones_like(pitch)
    cx, sx, cy, sy, cz, sz = np.cos(pitch), np.sin(pitch), np.cos(yaw), np.sin(yaw), np.cos(roll), np.sin(roll)
    x = np.stack([one, zero, zero, zero, cx, -sx, zero, sx, cx], -1).reshape(-1, 3, 3)
    y = np.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy], -1).reshape(-1, 3, 3)
    z = np.stack([cz, -sz, zero, sz, cz, zero, zero, zero, one], -1).reshape(-1, 3, 3)
    return np.asarray(x @ y @ z)


def _about(
    rotation: NDArray[np.float64], pivot: NDArray[np.float64], shift: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Turn about a pivot and shift, in head space: (T, 3, 4) in the same space."""
    moved = pivot - np.einsum("tij,j->ti", rotation, pivot) + shift
    return np.concatenate([rotation, moved[..., None]], axis=2)


def _to_camera(local: NDArray[np.float64]) -> NDArray[np.float64]:
    """Head-space motions (T, 3, 4) about rest -> poses (T, 3, 4) to the camera."""
    rest = rig.rest_pose()
    poses = FLIP @ local
    poses[:, :, 3] += rest[:, 3]
    return poses


def motion(rng: np.random.Generator, frames: int, stress_s: Sequence[float], talking: NDArray[np.float64]) -> Motion:
    """Draw the motion of a clip.

    Parameters
    ----------
    stress_s : when stressed syllables start, seconds. talking : (T,) 0 listening .. 1 talking: how lively the head is.
    """
    lively = 0.55 + 0.45 * talking
    degrees = np.pi / 180.0
    yaw = degrees * (4.2 * wander(rng, frames, 5.0) + 1.3 * wander(rng, frames, 1.4)) * lively
    pitch = degrees * (1.9 * wander(rng, frames, 4.0) + 0.8 * wander(rng, frames, 1.2)) * lively
    roll = degrees * (1.9 * wander(rng, frames, 5.5) + 0.5 * wander(rng, frames, 1.6)) * lively
    yaw, pitch = np.clip(yaw, -0.24, 0.24), np.clip(pitch, -0.11, 0.13)
    pitch = pitch + degrees * 2.0 * nods(stress_s, rng, frames)
    breath = np.sin(2 * np.pi * np.cumsum(0.24 + 0.03 * wander(rng, frames, 8.0)) / FPS)
    sway = np.stack([0.035 * wander(rng, frames, 7.0), 0.012 * breath, 0.03 * wander(rng, frames, 9.0)], axis=1)
    turn = _rotation(
        degrees * (0.5 * wander(rng, frames, 8.0) + 0.15 * breath),
        degrees * 1.2 * wander(rng, frames, 9.0) + 0.10 * yaw,
        degrees * 0.5 * wander(rng, frames, 8.0),
    )
    torso = _about(turn, TORSO_PIVOT, sway)
    # The head rides on the torso's neck and adds its own turn and a slight shift.
    shift = np.stack([0.12 * yaw + 0.008 * wander(rng, frames, 3.0), -0.05 * pitch, 0.10 * pitch], axis=1)
    carried = np.einsum("tij,j->ti", torso[:, :, :3], NECK_PIVOT) + torso[:, :, 3] - NECK_PIVOT
    head = _about(_rotation(pitch, yaw, roll), NECK_PIVOT, carried + shift)
    gaze = np.stack([-0.85 * yaw, 0.85 * pitch], axis=1) + saccades(rng, frames)
    brow = 0.15 + 2.2 * np.clip(-pitch, -0.08, 0.12)
    return Motion(blinks(rng, frames), gaze, brow, _to_camera(head), _to_camera(torso))
