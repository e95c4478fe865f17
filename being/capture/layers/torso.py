"""Torso pose of every frame: clothes and shoulders followed by their looks, against the most ordinary frame.

One camera tells no depth of the torso, so it is taken for a sheet facing the camera at the head's mean depth, which may
shift, roll and come nearer. What a shirt without any pattern does not show is held at rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter1d

from being.capture.layers.alignment import Array, Camera, Small, Surface, align, small
from being.capture.pose.solve import PoseSolution, ordinary_frame
from being.capture.read_ahead import ahead
from being.dataset.parsing import HEAD, TORSO
from being.dataset.pose import rest_pose
from being.errors import InputError
from being.progress import Progress

CHOICE = 500  # frames among which the most ordinary one is looked for; they are kept in memory, small
POINTS = 2500  # of the torso, at most
RIM = 2  # small pixels by which the torso is grown: its outline is what a plain shirt shows best
LEAST_AREA = 0.01  # share of the picture; with less torso than that there is nothing to follow
HOLD = np.array([0.0, 0.0, 0.15, 0.6, 0.6, 0.6])  # what the torso may stray from rest: roll in radians, moves in dm
SLOW = 12.0  # frames, deviation of the smoothing that leaves of the head's motion what the camera does
SMOOTH = 1.5  # frames, deviation of the smoothing over time


def track_torso(
    frames: Iterable[NDArray[np.uint8]],
    parsing: Iterable[NDArray[np.uint8]],
    pose: PoseSolution,
    progress: Progress | None = None,
    breaks: NDArray[np.bool_] | None = None,
    camera_moves: bool = False,
) -> NDArray[np.float32]:
    """Follow the torso.

    Parameters
    ----------
    frames : T pictures, RGB (H, W, 3). parsing : their labels (H, W). Both are read once, in step.
    pose : the heads' solution for the same pictures. breaks : (T - 1,) frames after which time does not go on.
    camera_moves : rest goes with the head's slow motion, most of which is the camera's.

    Returns
    -------
    float32 (T, 3, 4), canonical -> camera; in the most ordinary frame it is the rest pose (facing the camera, where the
    head is on average). Without a torso in the picture: the rest pose throughout.

    Raises
    ------
    InputError
        Fewer pictures or labels than poses.
    """
    heads = pose.poses.astype(np.float64)
    total = len(heads)
    rests = np.repeat(rest_pose(heads).astype(np.float64)[None], total, axis=0)
    if camera_moves:
        moves = _pieces(heads[:, :, 3], breaks)
        rests[:, :, 3] = np.concatenate([gaussian_filter1d(each, SLOW, axis=0, mode="nearest") for each in moves])
    camera = Camera(pose.focal, pose.cx, pose.cy)
    pairs = _smalls(frames, parsing)
    first = list(islice(pairs, min(CHOICE, total)))
    if not first:
        raise InputError(f"No pictures for {total} poses", "Capture the video again")
    chosen = ordinary_frame(heads[: len(first)])
    surface = _surface(*first[chosen], rests[chosen], camera)
    poses = rests.copy()
    if surface is None:
        return poses.astype(np.float32)
    done = 0
    before = rests[0]
    for index, (picture, labels) in enumerate(islice(chain(first, pairs), total)):
        before = _follow(surface, picture, labels, rests[index], before, camera)
        poses[index] = before
        done = index + 1
        if progress is not None:
            progress.update(done / total)
    if done < total:
        raise InputError(f"{done} pictures for {total} poses", "Capture the video again")
    return np.concatenate([_smoothed(piece) for piece in _pieces(poses, breaks)]).astype(np.float32)


def _pieces(values: Array, breaks: NDArray[np.bool_] | None) -> list[Array]:
    """Values (T, ...) cut after the frames (T - 1,) at which time does not go on."""
    return np.split(values, [] if breaks is None else np.flatnonzero(breaks) + 1)


def _follow(
    surface: Surface, picture: Small, labels: NDArray[np.uint8], rest: Array, before: Array, camera: Camera
) -> Array:
    """The pose in one frame. Points that the head covers are not looked at."""
    pixels = camera.project(surface.points @ before[:, :3].T + before[:, 3]) * picture.scale
    height, width = labels.shape
    row = pixels[:, 1].astype(int).clip(0, height - 1)
    column = pixels[:, 0].astype(int).clip(0, width - 1)
    seen = labels[row, column] != HEAD
    held = align(surface, picture, before, camera, rest, HOLD, seen)
    return held if np.abs(held[:, 3] - rest[:, 3]).max() < 3 * HOLD[3:].max() else before


def _smalls(
    frames: Iterable[NDArray[np.uint8]], parsing: Iterable[NDArray[np.uint8]]
) -> Iterator[tuple[Small, NDArray[np.uint8]]]:
    """Small pictures with small labels."""

    def both(frame: NDArray[np.uint8], labels: NDArray[np.uint8]) -> tuple[Small, NDArray[np.uint8]]:
        picture = small(frame)
        height, width = picture.levels[0].shape
        rows = ((np.arange(height) + 0.5) / picture.scale).astype(int).clip(0, len(labels) - 1)
        columns = ((np.arange(width) + 0.5) / picture.scale).astype(int).clip(0, labels.shape[1] - 1)
        return picture, labels[rows[:, None], columns]

    return ahead(partial(both, frame, labels) for frame, labels in zip(frames, parsing, strict=False))


def _surface(picture: Small, labels: NDArray[np.uint8], rest: Array, camera: Camera) -> Surface | None:
    """The torso's pixels on the sheet through the rest pose; None where the picture shows too little of it."""
    torso = labels == TORSO
    if torso.mean() < LEAST_AREA:
        return None
    region = binary_dilation(torso, iterations=RIM) & ((labels == TORSO) | (labels == 0))
    rows, columns = np.nonzero(region)
    every = max(1, -(-len(rows) // POINTS))
    pixels = (np.stack([columns, rows], axis=1)[::every] + 0.5) / picture.scale
    across = (pixels - np.array([camera.cx, camera.cy])) / camera.focal
    at = np.concatenate([across, np.ones((len(across), 1))], axis=1) * rest[2, 3]
    return Surface.remember((at - rest[:, 3]) @ rest[:, :3], rest, picture, camera)


def _smoothed(poses: Array) -> Array:
    """Rolls and moves smoothed over time; the torso only rolls, so its rotation is one angle."""
    roll = np.arctan2(poses[:, 1, 0], poses[:, 0, 0])
    curves = gaussian_filter1d(np.column_stack([roll, poses[:, :, 3]]), SMOOTH, axis=0, mode="nearest")
    c, s, zero = np.cos(curves[:, 0]), np.sin(curves[:, 0]), np.zeros(len(poses))
    turned = np.stack([c, s, zero, s, -c, zero, zero, zero, zero - 1], axis=1).reshape(-1, 3, 3)  # Rz(roll) FLIP
    return np.concatenate([turned, curves[:, 1:, None]], axis=2)
