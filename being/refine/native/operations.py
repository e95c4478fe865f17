"""The native refiner's small operations on a device: Triton kernels, or their twins in plain PyTorch."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from being.kernel_trial import KernelTrial
from being.refine.native import twins
from being.refine.native.references import CELLS, NODES, THUMB, References, View


class Operations(Protocol):
    """`twins` or `kernels`."""

    def thumbnails(self, references: References, x: Tensor, view: View) -> Tensor: ...
    def laid(self, references: References, texture: Tensor, unlike: Tensor | None, view: View) -> Tensor: ...
    def sharpened(self, x: Tensor, change: Tensor, gain: Tensor) -> Tensor: ...


def operations(device: torch.device) -> Operations:
    """Triton kernels on a GPU where Triton works, their twins elsewhere."""
    return _kernels.on(device) or twins


def _tried_out(device: torch.device) -> Operations:
    """Each of them once, on next to nothing."""
    from being.refine.native import kernels

    references = References(1, CELLS * THUMB).to(device)
    x, nodes = torch.ones(1, 4, 8, 8, device=device), torch.ones(1, 1, NODES, NODES, device=device)
    view = View(x[:, 3:], torch.ones(1, 4, device=device), references.pose[None])
    kernels.thumbnails(references, x, view)
    texture = torch.zeros(1, 3, CELLS * THUMB, CELLS * THUMB, device=device)
    for unlike in (nodes, None):
        changed = kernels.laid(references, texture, unlike, view)
    kernels.sharpened(x, changed, torch.zeros(1, 1, device=device))
    return kernels


_kernels = KernelTrial(_tried_out, "the native refiner runs without kernels, slower")
