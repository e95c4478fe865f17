"""The native refiner's small operations on a device: Triton kernels, or their twins in plain PyTorch."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from being.refine.native import twins
from being.refine.native.references import CELLS, NODES, THUMB, References, View

log = logging.getLogger(__name__)


class Operations(Protocol):
    """`twins` or `kernels`."""

    def thumbnails(self, references: References, x: Tensor, view: View) -> Tensor: ...
    def laid(self, references: References, texture: Tensor, unlike: Tensor | None, view: View) -> Tensor: ...
    def sharpened(self, x: Tensor, change: Tensor, gain: Tensor) -> Tensor: ...


@lru_cache(maxsize=8)
def operations(device: torch.device) -> Operations:
    """Triton kernels on a GPU where Triton works, their twins elsewhere."""
    if device.type != "cuda":
        return twins
    try:
        from being.refine.native import kernels

        _try_out(kernels, device)
    except Exception as error:  # a missing C compiler, a driver that Triton does not know: it raises all sorts
        log.warning("refining without kernels of our own, slower: Triton compiles nothing here (%s)", error)
        return twins
    return kernels


def _try_out(kernels: Operations, device: torch.device) -> None:
    """Each of them once, on next to nothing."""
    references = References(1, CELLS * THUMB).to(device)
    x, nodes = torch.ones(1, 4, 8, 8, device=device), torch.ones(1, 1, NODES, NODES, device=device)
    view = View(x[:, 3:], torch.ones(1, 4, device=device), references.pose[None])
    kernels.thumbnails(references, x, view)
    texture = torch.zeros(1, 3, CELLS * THUMB, CELLS * THUMB, device=device)
    for unlike in (nodes, None):
        changed = kernels.laid(references, texture, unlike, view)
    kernels.sharpened(x, changed, torch.zeros(1, 1, device=device))
