"""Colour that depends on the direction a splat is seen from, by the fastest backend there is."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

from being.errors import InputError
from being.raster.sh import COEFFICIENTS, spherical_harmonics_reference


@lru_cache
def installed(package: str) -> bool:
    """Whether a package can be imported."""
    return find_spec(package) is not None


def spherical_harmonics(sh: Tensor, directions: Tensor, *, backend: str = "auto") -> Tensor:
    """Evaluate colours: max(0, 0.5 + sum_k basis_k(direction) sh_k).

    Parameters
    ----------
    sh : (N, K, 3) coefficients, K = 1, 4, 9 or 16.
    directions : (N, 3) unit vectors from the camera to the splat, in the splat's own frame.
    backend : "auto" (of what is installed: numba for float32 on the CPU, gsplat for float32 on CUDA; else "reference"),
        "numba", "gsplat" (one launch where the reference has some sixty, as many for the gradient) or "reference".

    Returns
    -------
    (N, 3) colours >= 0; differentiable in both arguments.
    """
    if sh.dim() != 3 or sh.shape[1] not in COEFFICIENTS or sh.shape[2] != 3:
        raise InputError(f"sh has shape {tuple(sh.shape)}, expected (N, K, 3) with K one of {COEFFICIENTS}")
    if tuple(directions.shape) != (sh.shape[0], 3):
        raise InputError(f"directions have shape {tuple(directions.shape)}, expected {(sh.shape[0], 3)}")
    if backend == "auto":
        fast = {"cpu": "numba", "cuda": "gsplat"}.get(sh.device.type, "reference")
        usable = sh.dtype == directions.dtype == torch.float32 and len(sh) > 0
        backend = fast if usable and installed(fast) else "reference"
    if backend == "numba":
        from being.raster.cpu.sh import SphericalHarmonics

        return SphericalHarmonics.apply(sh.float(), directions.float())
    if backend == "gsplat":
        from being.raster.gsplat import spherical_harmonics_gsplat

        return spherical_harmonics_gsplat(sh.float(), directions.float())
    if backend != "reference":
        raise InputError(f"There is no colour backend {backend!r}", "Choose one of auto, numba, gsplat, reference")
    return spherical_harmonics_reference(sh, directions)
