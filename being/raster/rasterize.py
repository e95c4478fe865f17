"""The door of the rasterizer: checks the arguments and picks the backend."""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import Tensor

from being.errors import InputError
from being.raster.contract import Cameras, Raster, Splats, check_inputs
from being.raster.reference import rasterize_reference

BACKENDS = ("auto", "reference", "numba", "gsplat", "inria")


def rasterize(
    splats: Splats,
    cameras: Cameras,
    *,
    probe: Tensor | None = None,
    backend: str = "auto",
    absolute: bool = False,
) -> Raster:
    """Draw each image of a ragged batch of splats.

    Parameters
    ----------
    splats : the splats of B images.
    cameras : B cameras of one picture size.
    probe : (N, 2) zeros that require gradients: they are added to the projected centres (pixels), so `probe.grad` is
        the gradient of the loss in screen space, which densification looks at.
    backend : "auto" (gsplat for CUDA tensors, inria where only that is installed; otherwise numba, else the
        reference) or a name.
    absolute : `probe.grad` shall be the sums over the pixels of the gradients' absolute values, for pixels that pull a
        splat in opposite directions; gsplat alone has them, others leave it the gradient.

    Returns
    -------
    Raster, differentiable in means, quats, scales, opacities, colors and probe (not in the cameras).

    Raises
    ------
    InputError : a shape, dtype or backend name is wrong.
    BeingError : the backend asked for is not installed.
    """
    check_inputs(splats, cameras, probe)
    if backend not in BACKENDS:
        raise InputError(f"There is no rasterizer backend {backend!r}", f"Choose one of {', '.join(BACKENDS)}")
    if backend == "auto":
        backend = _best_backend(splats)
    if backend == "gsplat":
        from being.raster.gsplat import rasterize_gsplat

        return rasterize_gsplat(splats, cameras, probe, absolute)
    if backend == "inria":
        from being.raster.inria import rasterize_inria

        return rasterize_inria(splats, cameras, probe)
    if backend == "numba":
        from being.raster.cpu.autograd import rasterize_numba

        return rasterize_numba(splats, cameras, probe)
    return rasterize_reference(splats, cameras, probe)


def _best_backend(splats: Splats) -> str:
    """Return the backend for where the splats are: float64 is for checking, and only the reference computes in it."""
    if splats.means.device.type == "cuda":
        gsplat = find_spec("gsplat") is not None or find_spec("diff_gaussian_rasterization") is None
        return "gsplat" if gsplat else "inria"
    if splats.means.device.type == "cpu" and splats.means.dtype != torch.float64 and find_spec("numba") is not None:
        return "numba"
    return "reference"
