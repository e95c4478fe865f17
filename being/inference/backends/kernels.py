"""Which kernels a device has; asked without importing what it has not."""

from __future__ import annotations

import torch

from being.inference.output import Planes
from being.kernel_trial import KernelTrial


def planes_kernel(device: torch.device) -> Planes | None:
    """The last stage's kernel; None on a CPU, and on a GPU where Triton is missing or compiles nothing."""
    return _kernels.on(device)


def _tried_out(device: torch.device) -> Planes:
    from being.inference.backends.gpu_planes import planes, try_out

    try_out(device)
    return planes


_kernels = KernelTrial(_tried_out, "frames are drawn without kernels, slower")
