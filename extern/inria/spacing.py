"""How far points lie apart, which is how large their first Gaussians are: by simple-knn where it is installed."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

NEIGHBOURS = 3


def neighbour_spacing(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each point (N, 3) to its three nearest neighbours, (N,), in the unit of the points.

    Their mean by a k-d tree; with the user's own simple-knn on a CUDA device the root of their mean square, which is
    what that package answers and a few per cent larger.
    """
    if len(points) > NEIGHBOURS and find_spec("simple_knn") is not None and torch.cuda.is_available():
        from simple_knn._C import distCUDA2

        squares = distCUDA2(torch.from_numpy(points).float().cuda())
        return squares.clamp_min(0).sqrt().double().cpu().numpy()
    nearest = cKDTree(points).query(points, k=min(NEIGHBOURS + 1, len(points)))[0]
    return nearest[:, 1:].mean(1)
