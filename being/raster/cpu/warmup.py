"""Compiles the CPU kernels before the first picture needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from being.raster.contract import Cameras, Splats
from being.raster.cpu import sh as numba_sh
from being.raster.cpu.autograd import rasterize_numba
from being.raster.cpu.backend import NumbaRenderer


def warmup(progress: Callable[[str, int, int], None] | None = None, *, training: bool = False) -> None:
    """Compile the kernels, or load them from numba's cache, before the first picture needs them.

    Cold, 8 to 13 s of CPU time for inference and as much more for training; under 1 s from the cache, which is kept for
    each CPU model.

    Parameters
    ----------
    progress : called as progress(what, steps done, steps in all) before each step and at the end.
    training : also compile the gradients.
    """
    arrays = [np.ones((2, width) if width > 1 else 2, np.float32) for width in (3, 4, 3, 1, 3)]
    means, quats, scales, opacities, colors = arrays
    view, intrinsics = np.eye(3, 4, dtype=np.float32), np.array([9, 9, 9, 9], np.float32)
    background = np.zeros((20, 20, 3), np.uint8)
    seen = (means, quats, scales, opacities, colors, view, intrinsics)
    renderer = NumbaRenderer(threads=1)

    def gradients() -> None:
        means, quats, scales, opacities, colors = (torch.from_numpy(array).requires_grad_() for array in arrays)
        cameras = Cameras(torch.from_numpy(view)[None], torch.from_numpy(intrinsics)[None], 20, 20)
        raster = rasterize_numba(Splats(means, quats, scales, opacities, colors, (0, 2)), cameras)
        (raster.rgb.sum() + raster.alpha.sum() + raster.depth.sum()).backward()

    steps: list[tuple[str, Callable[[], Any]]] = [
        ("drawing", lambda: renderer.render(*seen, 20, 20)),
        ("drawing over a background", lambda: renderer.render_over(*seen, background)),
        ("spherical harmonics", lambda: numba_sh.warmup(training)),
    ]
    if training:
        steps.append(("gradients", gradients))
    for done, (what, step) in enumerate(steps):
        if progress is not None:
            progress(what, done, len(steps))
        step()
    if progress is not None:
        progress("ready", len(steps), len(steps))
