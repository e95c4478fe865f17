"""The fitted face mesh as points to begin a head from: subdivided until neighbours are about a millimetre apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SUBDIVISIONS = 3  # of mediapipe's mesh: 27,656 points


def dense_vertices(
    shape: NDArray[np.float64], triangles: NDArray[np.int64], times: int = SUBDIVISIONS
) -> NDArray[np.float32]:
    """Points (V, 3) of a mesh after splitting each triangle into four `times` times, in the unit of `shape`.

    Parameters
    ----------
    shape : (P, 3) points of the mesh; those that no triangle names are left out.
    triangles : (F, 3) point numbers.
    """
    named, triangles = np.unique(triangles, return_inverse=True)
    points, triangles = np.asarray(shape, np.float64)[named], triangles.reshape(-1, 3)
    for _ in range(times):
        points, triangles = _split(points, triangles)
    return points.astype(np.float32)


def _split(points: NDArray[np.float64], triangles: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Add the middle of every edge, once."""
    sides = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]], axis=-1)
    edges, which = np.unique(sides.reshape(-1, 2), axis=0, return_inverse=True)
    middle = which.reshape(-1, 3) + len(points)  # of the sides ab, bc, ca
    a, b, c = triangles.T
    ab, bc, ca = middle.T
    parts = [np.stack(part, 1) for part in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    return np.concatenate([points, points[edges].mean(axis=1)]), np.concatenate(parts)
