"""Which kernels a device has; asked without importing what it has not."""

from __future__ import annotations

import logging
from functools import lru_cache
from importlib.util import find_spec

import torch

from being.inference.output import Planes

log = logging.getLogger(__name__)


@lru_cache(maxsize=8)
def planes_kernel(device: torch.device) -> Planes | None:
    """The last stage's kernel; None on a CPU, and on a GPU where Triton is missing or compiles nothing."""
    if device.type != "cuda" or find_spec("triton") is None:
        return None
    from being.inference.backends.gpu_planes import planes, try_out

    try:
        try_out(device)
    except Exception as error:  # a missing C compiler, a driver that Triton does not know: it raises all sorts
        log.warning("drawing without kernels of our own: Triton compiles nothing here (%s)", error)
        return None
    return planes
