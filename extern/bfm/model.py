"""The morphable model as the talking-portrait trackers use it: mean + identity + expression, in decimetres.

    vertices = (M + sum_k id_k sigma_k S_k + sum_k exp_k tau_k E_k) * 1e-5

M is the mean of shape and expression, centred on every axis; S, E are the directions and sigma, tau their deviations.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from being.extern.untrusted import load_array_dictionary, load_matrices
from numpy.typing import ArrayLike, NDArray

from being.dataset.tracking import finite
from being.errors import FormatError, InputError

DECIMETRES = 1e-5  # of the model's unit, a micrometre
IDENTITY, EXPRESSION = 100, 79  # directions the trackers use
INFO, MATLAB = "3DMM_info.npy", "01_MorphableModel.mat"
TOPOLOGY, EXPRESSIONS = "topology_info.npy", "exp_info.npy"  # lie beside the MATLAB file in the trackers' folders
WHERE = "Register at https://faces.dmi.unibas.ch/bfm for BFM 2009; see extern/bfm/README.md"

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FaceModel:
    """mean (V, 3), identity (100, V, 3), expression (79, V, 3): decimetres, directions times their deviations."""

    mean: Array
    identity: Array
    expression: Array

    def vertices(self, identity: ArrayLike, expression: ArrayLike) -> NDArray[np.float32]:
        """Mesh points (V, 3) of coefficients (100,) and (79,) as a tracking file saves them (units of deviations)."""
        shape = finite(np.asarray(identity, np.float64), (len(self.identity),), "identity coefficients")
        mimic = finite(np.asarray(expression, np.float64), (len(self.expression),), "expression coefficients")
        moved = np.tensordot(shape, self.identity, 1) + np.tensordot(mimic, self.expression, 1)
        return (self.mean + moved).astype(np.float32)


def load_face_model(path: Path) -> FaceModel:
    """Read the user's model.

    Parameters
    ----------
    path : `3DMM_info.npy`; or `01_MorphableModel.mat` with `topology_info.npy` and `exp_info.npy` beside it; or the
        folder that holds either (the trackers call it `3DMM`).

    Raises
    ------
    InputError
        A file is missing; the remedy says where it comes from.
    FormatError
        A file is not of the form, hostile, or does not fit the others.
    """
    path = Path(path)
    if path.is_dir():
        path = path / INFO if (path / INFO).is_file() else path / MATLAB
    if not path.is_file():
        raise InputError(f"{path} is missing", WHERE)
    return _from_matlab(path) if path.suffix.lower() == ".mat" else _from_info(path)


def _from_info(path: Path) -> FaceModel:
    names = ("b_shape", "mu_shape", "sig_shape", "b_exp", "mu_exp", "sig_exp")
    return _assemble(load_array_dictionary(path, names, WHERE), str(path))


def _from_matlab(path: Path) -> FaceModel:
    """The 53,490 points of the original cut down to those the trackers use, joined with the expressions they ship."""
    topology = load_array_dictionary(path.with_name(TOPOLOGY), ("sub_inds",), WHERE)
    mimics = load_array_dictionary(path.with_name(EXPRESSIONS), ("mu_exp", "base_exp", "sig_exp"), WHERE)
    face = load_matrices(path, ("shapePC", "shapeEV", "shapeMU"), WHERE)
    directions, mean = face["shapePC"], face["shapeMU"].reshape(-1)
    chosen = topology["sub_inds"].reshape(-1)
    if len(mean) % 3 or len(directions) != len(mean):
        raise FormatError(f"{path}: shapePC {directions.shape} and shapeMU {face['shapeMU'].shape} do not fit")
    if chosen.dtype.kind not in "iu" or not len(chosen) or chosen.min() < 0 or chosen.max() >= len(mean) // 3:
        raise FormatError(f"{path.with_name(TOPOLOGY)}: sub_inds are not indices of {len(mean) // 3} points")
    columns = (3 * chosen[:, None] + np.arange(3)).reshape(-1)
    parts = {
        "b_shape": directions[columns, :IDENTITY].T,
        "mu_shape": mean[columns],
        "sig_shape": face["shapeEV"],
        "b_exp": mimics["base_exp"],
        "mu_exp": mimics["mu_exp"],
        "sig_exp": mimics["sig_exp"],
    }
    return _assemble(parts, str(path))


def _assemble(parts: dict[str, NDArray[Any]], where: str) -> FaceModel:
    """Check the sizes against each other, centre, scale."""
    mean = parts["mu_shape"].reshape(-1).astype(np.float64)
    if not len(mean) or len(mean) % 3:
        raise FormatError(f"{where}: mu_shape holds {len(mean)} numbers, expected three for each point")
    added = parts["mu_exp"].reshape(-1)
    if len(added) != len(mean):
        raise FormatError(f"{where}: mu_exp holds {len(added)} numbers, mu_shape {len(mean)}")
    points = (mean + added).reshape(-1, 3)

    def directions(base: str, deviations: str, count: int) -> Array:
        basis, sigma = parts[base], parts[deviations].reshape(-1)
        if basis.ndim != 2 or basis.shape[1] != len(mean) or len(basis) < count:
            raise FormatError(f"{where}: {base} has shape {basis.shape}, expected ({count} or more, {len(mean)})")
        if len(sigma) < count:
            raise FormatError(f"{where}: {deviations} holds {len(sigma)} numbers, expected {count} or more")
        scaled = basis[:count].astype(np.float64) * sigma[:count, None].astype(np.float64)
        return scaled.reshape(count, -1, 3) * DECIMETRES

    return FaceModel(
        mean=(points - points.mean(axis=0)) * DECIMETRES,
        identity=directions("b_shape", "sig_shape", IDENTITY),
        expression=directions("b_exp", "sig_exp", EXPRESSION),
    )
