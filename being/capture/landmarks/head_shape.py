"""The person's own face as a rigid 3D shape, from the mesh the tracker gives in every frame.

Each frame's mesh is the face under a near weak-perspective camera. Turning all of them onto their mean (generalised
Procrustes) gives the shape and, as a by-product, a first pose of every frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from being.dataset.pose import FLIP

Array = NDArray[np.float64]

# Forehead, nose, corners of the eyes and sides of the cheeks: what speech and looks move least.
RIGID = (
    168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 98, 327, 33, 133, 362, 263, 193, 417, 122, 351, 196, 419, 245, 465, 188, 412,
    174, 399, 9, 8, 151, 10, 109, 338, 67, 297, 108, 337, 127, 356, 234, 454, 117, 346, 50, 280, 129, 358, 143, 372,
)  # fmt: skip
OUTER_EYES = (33, 263)  # outer corners: the image's left and right
PAIRS = ((33, 263), (133, 362), (127, 356), (234, 454))  # mirror images of each other
FOREHEAD, CHIN = 10, 152
OUTER_EYES_DM = 0.89  # between the outer corners of an adult's eyes; the one number that sets the unit
EYES_ABOVE_ORIGIN = np.array([0.0, 0.27, 0.32])  # of the outer corners' middle, dm: the origin is inside the head
ROUNDS = 6


@dataclass(frozen=True)
class Alignment:
    """Frames laid on their mean shape: mesh = scale * (shape R^T) + offset, in pixels with z away from the camera.

    shape (P, 3) canonical dm; rotations (T, 3, 3) canonical -> camera axes; scales (T,) px/dm; offsets (T, 3) px, where
    the shape's origin lies.
    """

    shape: Array
    rotations: Array
    scales: Array
    offsets: Array


def own_shape(points: Array, rigid: Sequence[int] = RIGID) -> Alignment:
    """Meshes (T, P, 3) in pixels -> their mean shape and how each frame lies on it, by the points `rigid`."""
    rigid = list(rigid)
    shape = _upright(points[len(points) // 2] @ FLIP)
    for _ in range(ROUNDS):
        rotations, scales, offsets = _lay(shape[rigid], points[:, rigid])
        turned = np.einsum("tpi,tij->tpj", points - offsets[:, None], rotations) / scales[:, None, None]
        shape = _upright(turned.mean(axis=0))
    return Alignment(shape, *_lay(shape[rigid], points[:, rigid]))


def _lay(shape: Array, points: Array) -> tuple[Array, Array, Array]:
    """Best similarity of shape (K, 3) onto each of points (T, K, 3): rotations, scales, offsets (Umeyama 1991)."""
    middle, middles = shape.mean(axis=0), points.mean(axis=1)
    centred = shape - middle
    u, s, vt = np.linalg.svd(np.einsum("tki,kj->tij", points - middles[:, None], centred))
    sign = np.ones_like(s)
    sign[:, 2] = np.sign(np.linalg.det(u @ vt))
    rotations = (u * sign[:, None]) @ vt
    scales = (s * sign).sum(axis=1) / np.square(centred).sum()
    return rotations, scales, middles - scales[:, None] * (rotations @ middle)


def _upright(shape: Array) -> Array:
    """The shape with x from the image's left eye to its right one, the forehead over the chin, in dm."""
    across = sum((shape[right] - shape[left]) for left, right in PAIRS)
    x = across / np.linalg.norm(across)
    up = shape[FOREHEAD] - shape[CHIN]
    y = up - (up @ x) * x
    y /= np.linalg.norm(y)
    turned = shape @ np.stack([x, y, np.cross(x, y)], axis=1)
    left, right = turned[list(OUTER_EYES)]
    scale = OUTER_EYES_DM / np.linalg.norm(right - left)
    return scale * (turned - (left + right) / 2) + EYES_ABOVE_ORIGIN
