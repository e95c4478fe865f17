"""The CUDA device that kernels of our own are launched on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Make a CUDA device the current one of this thread.

    Triton launches on the current device, and graphs are captured there, wherever their tensors lie.
    """
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
