"""The small operations between matrix products and convolutions: Triton kernels, or their twins in plain PyTorch."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from being.kernel_trial import KernelTrial
from being.refine.streamdiffusion import twins
from being.refine.streamdiffusion.twins import Norm


class Operations(Protocol):
    """`twins` or `kernels`."""

    def add(self, value: Tensor, residual: Tensor | None, bias: Tensor | None) -> Tensor: ...
    def group_norm(
        self,
        value: Tensor,
        residual: Tensor | None,
        bias: Tensor | None,
        skip: Tensor | None,
        norm: Norm,
        silu: bool,
        keep: bool,
    ) -> tuple[Tensor | None, Tensor]: ...
    def layer_norm(
        self, value: Tensor, residual: Tensor | None, bias: Tensor | None, norm: Norm, total: Tensor | None
    ) -> Tensor: ...
    def geglu(self, gated: Tensor, out: Tensor) -> None: ...
    def softmax(self, scores: Tensor, heads: int, tokens: int) -> Tensor: ...
    def interleave(self, phases: Tensor) -> Tensor: ...
    def channels_last(self, planes: Tensor, channels: int, dtype: torch.dtype) -> Tensor: ...
    def anchored_noise(self, bank: Tensor, slots: Tensor, maps: Tensor, size: int) -> Tensor: ...


def operations(device: torch.device) -> Operations:
    """Triton kernels on a GPU where Triton works, their twins elsewhere."""
    return _kernels.on(device) or twins


def _tried_out(device: torch.device) -> Operations:
    from being.refine.streamdiffusion import kernels

    one = torch.ones(1, 1, 1, 1, device=device)
    kernels.add(one, one, None)
    return kernels


_kernels = KernelTrial(_tried_out, "the refiner streamdiffusion runs without kernels of our own, slower")
