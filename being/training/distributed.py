"""Data-parallel training: what the loop asks of a process group, for one process and for torch.distributed.

Every worker holds the same Gaussians, network and random generator. A step draws the same frames everywhere, each
worker computes its share of them, and gradients are all-reduced; so all take the same step, and all decide the same
when Gaussians are added or removed. What only one clock can say (how much time is over, whether to stop) is broadcast
from worker 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class ProcessGroup(Protocol):
    """`rank` 0 .. `size` - 1: which worker this is. All workers call the methods in the same order."""

    rank: int
    size: int

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the workers, in place; same shapes everywhere."""
        ...

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by worker 0's, in place; same shapes everywhere."""
        ...


class SingleProcess:
    """One process: nothing to exchange, nothing spent."""

    rank, size = 0, 1

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """The sum over one worker."""

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Worker 0 is this one."""


class TorchProcessGroup:
    """The workers of torch.distributed's process group, which somebody has set up.

    Tensors on a GPU need NCCL, tensors in main memory gloo: "cpu:gloo,cuda:nccl" has both.
    """

    def __init__(self) -> None:
        self.rank: int = torch.distributed.get_rank()
        self.size: int = torch.distributed.get_world_size()

    @torch.no_grad()
    def sum(self, tensors: Sequence[Tensor]) -> None:
        """One message for all tensors: a call costs more than what it carries."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        torch.distributed.all_reduce(flat)
        _unpack(flat, tensors)

    @torch.no_grad()
    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """One message for all tensors of a type and place."""
        for kind in {(t.dtype, t.device.type): None for t in tensors}:  # in order of appearance, as on every worker
            same = [tensor for tensor in tensors if (tensor.dtype, tensor.device.type) == kind]
            flat = torch.cat([tensor.reshape(-1) for tensor in same])
            torch.distributed.broadcast(flat, src=0)
            _unpack(flat, same)


def _unpack(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def share(process_group: ProcessGroup, count: int) -> slice:
    """Which of `count` things this worker takes: contiguous, sizes differ by at most one."""
    return slice(
        count * process_group.rank // process_group.size, count * (process_group.rank + 1) // process_group.size
    )


def broadcast_values(process_group: ProcessGroup, *numbers: float) -> tuple[float, ...]:
    """Worker 0's numbers, for every worker."""
    if process_group.size == 1:
        return numbers
    said = torch.tensor(numbers, dtype=torch.float64)
    process_group.broadcast([said])
    return tuple(said.tolist())
