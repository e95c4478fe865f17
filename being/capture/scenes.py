"""The scene that most of a film shows the person in, and the frames that show another.

A film is split at hard cuts into shots. A shot belongs to the main scene when what is behind the person looks the same,
or when a face of the same size, place and colour is in it: a jump cut, or the same person before another background.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from being.capture.landmarks.tracking import Track
from being.capture.looks import Looks

JUMP = 10.0  # mean difference of two frames' cells, grey levels, that may be a hard cut
USUAL_TIMES = 5.0  # and by so many times it must exceed what is usual around it
AROUND = 12  # frames
SAME_VIEW = 14.0  # mean difference of two shots behind the person, grey levels, brightness taken out
SAME_SIZE, ALIKE_SIZE = 1.8, 1.4  # ratio of face heights within the same view; before another background
SAME_PLACE = 0.6  # face heights between two shots' faces
SAME_SKIN = 0.035  # difference of the face's red and green shares
BODY = 1.2, 1.0  # half width and height above the face's middle, in face heights, of the part that is the person


@dataclass(frozen=True)
class _Shot:
    """start, stop; its usual look (h, w, 3); face: centre x y and height in cells; skin: red and green shares."""

    start: int
    stop: int
    look: NDArray[np.float32]
    face: NDArray[np.float32]
    skin: NDArray[np.float32]
    faces: int


def main_scene(track: Track, looks: Looks, usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Frames (T,) of the main scene among the usable ones; others are false, too, where their shot is another scene."""
    boxes = _faces(track, looks.scale)
    shots = [
        _shot(start, stop, looks, boxes, usable & track.found)
        for start, stop in _between(_hard_cuts(looks))
        if (usable & track.found)[start:stop].any()
    ]
    out = np.ones(len(usable), bool)
    if len(shots) < 2:
        return out
    inside = {max(range(len(shots)), key=lambda i: shots[i].faces)}
    while more := {i for i in range(len(shots)) if i not in inside and any(_alike(shots[i], shots[k]) for k in inside)}:
        inside |= more
    for index, shot in enumerate(shots):
        if index not in inside:
            out[shot.start : shot.stop] = False
    return out


def _hard_cuts(looks: Looks) -> NDArray[np.int64]:
    """Frames (K,) that begin a shot."""
    cells = looks.cells.astype(np.int16)
    change = np.array([np.abs(b - a).mean() for a, b in itertools.pairwise(cells)])
    cuts = []
    for index in np.flatnonzero(change > JUMP):
        beside = np.concatenate([change[max(index - AROUND, 0) : index], change[index + 1 : index + 1 + AROUND]])
        if change[index] > USUAL_TIMES * (np.median(beside) if len(beside) else 0.0):
            cuts.append(index + 1)
    return np.array([0, *cuts, len(cells)])


def _between(edges: NDArray[np.int64]) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in itertools.pairwise(edges)]


def _faces(track: Track, scale: tuple[float, float]) -> NDArray[np.float32]:
    """Centre x, y and height of each face (T, 3), in cells."""
    low, high = track.points[:, :468, :2].min(axis=1), track.points[:, :468, :2].max(axis=1)
    middle = (low + high) / 2 / np.array(scale)
    return np.concatenate([middle, (high - low)[:, 1:] / scale[1]], axis=1).astype(np.float32)


def _shot(start: int, stop: int, looks: Looks, boxes: NDArray[np.float32], usable: NDArray[np.bool_]) -> _Shot:
    numbers = start + np.flatnonzero(usable[start:stop])
    chosen = numbers[np.unique(np.linspace(0, len(numbers) - 1, min(len(numbers), 60)).round().astype(int))]
    look = np.median(looks.cells[chosen], axis=0).astype(np.float32)
    face = np.median(boxes[chosen], axis=0)
    x, y, tall = face
    rows = slice(max(int(y - tall / 5), 0), max(int(y + tall / 4), int(y - tall / 5) + 1, 1))
    columns = slice(max(int(x - tall / 4), 0), max(int(x + tall / 4), int(x - tall / 4) + 1, 1))
    skin = look[rows, columns].reshape(-1, 3).mean(axis=0) if look[rows, columns].size else look.mean(axis=(0, 1))
    return _Shot(start, stop, look, face, (skin / max(float(skin.sum()), 1.0))[:2], len(numbers))


def _alike(one: _Shot, other: _Shot) -> bool:
    ratio = float(max(one.face[2], other.face[2]) / max(min(one.face[2], other.face[2]), 1e-3))
    behind = ~(_person(one) | _person(other))
    if behind.any() and ratio < SAME_SIZE:
        away = (one.look - other.look)[behind]
        if np.abs(away - away.mean(axis=0)).mean() < SAME_VIEW and np.abs(away.mean(axis=0)).max() < 2 * SAME_VIEW:
            return True
    near = np.linalg.norm(one.face[:2] - other.face[:2]) < SAME_PLACE * max(one.face[2], other.face[2])
    return ratio < ALIKE_SIZE and bool(near) and float(np.abs(one.skin - other.skin).max()) < SAME_SKIN


def _person(shot: _Shot) -> NDArray[np.bool_]:
    """Cells (h, w) that head and body may cover."""
    height, width = shot.look.shape[:2]
    y, x = np.mgrid[:height, :width] + 0.5
    away = np.abs(x - shot.face[0]) / max(shot.face[2], 1e-3)
    below = (y - shot.face[1]) / max(shot.face[2], 1e-3)
    return (away < BODY[0]) & (below > -BODY[1]) | (below > 0.5) & (away < 2 * BODY[0])
