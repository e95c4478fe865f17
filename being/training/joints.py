"""Recorded motion made whole where a part of the film was left out: no jump where the avatar plays across the cut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

BEFORE, AFTER = 15, 15  # frames over which the two sides of a cut are bent towards each other

Poses = NDArray[np.float32]


def bridged(poses: Poses, sound_frames: NDArray[np.int64]) -> Poses:
    """Poses (T, 3, 4), at each cut met halfway from both sides; untouched where time goes on.

    sound_frames : (T,) place of each frame on the film's clock, see `Dataset.sound_frames`.
    """
    cuts = np.flatnonzero(np.diff(sound_frames) != 1) + 1
    if not len(cuts):
        return poses
    edges = [0, *cuts.tolist(), len(poses)]
    turns = Rotation.from_matrix(poses[:, :, :3].astype(np.float64))
    moves = poses[:, :, 3].astype(np.float64)
    bend, shift = np.zeros((len(poses), 3)), np.zeros((len(poses), 3))
    for begun, cut, ended in zip(edges, edges[1:], edges[2:], strict=False):
        turn = (turns[cut] * turns[cut - 1].inv()).as_rotvec()
        move = moves[cut] - moves[cut - 1]
        before, after = min(BEFORE, (cut - begun) // 2), min(AFTER, (ended - cut) // 2)
        for count, place, sign in ((before, slice(cut - before, cut), 1), (after, slice(cut, cut + after), -1)):
            share = _rising(count)[:, None] if sign > 0 else _rising(count)[::-1, None]
            bend[place] += sign * share * turn
            shift[place] += sign * share * move
    out = np.concatenate([(Rotation.from_rotvec(bend) * turns).as_matrix(), (moves + shift)[..., None]], axis=2)
    return out.astype(np.float32)


def _rising(count: int) -> NDArray[np.float64]:
    """From nearly 0 to a half, smoothly, over so many frames."""
    x = (np.arange(count) + 1) / (count + 1)
    return (3 * x**2 - 2 * x**3) / 2
