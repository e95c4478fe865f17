"""Workers that share one batch: what the training loop asks of them, and the two forms it knows.

Every worker holds the same Gaussians, network and dice. A step draws the same frames everywhere, each worker computes
its share of them, and gradients are added up; so all take the same step, and all decide the same when Gaussians are
added or removed. What only one clock can say (how much time is over, whether to stop) is said by worker 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Team(Protocol):
    """`rank` 0 .. `size` - 1: which worker this is. All workers call the methods in the same order."""

    rank: int
    size: int

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the workers, in place; same shapes everywhere."""
        ...

    def copy(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by worker 0's, in place; same shapes everywhere."""
        ...


class Alone:
    """A team of one: nothing to exchange, nothing spent."""

    rank, size = 0, 1

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """The sum over one worker."""

    def copy(self, tensors: Sequence[Tensor]) -> None:
        """Worker 0 is this one."""


class Group:
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
    def copy(self, tensors: Sequence[Tensor]) -> None:
        """One message for all tensors of a type and place."""
        for kind in {(t.dtype, t.device.type): None for t in tensors}:  # in order of appearance, as on every worker
            same = [tensor for tensor in tensors if (tensor.dtype, tensor.device.type) == kind]
            flat = torch.cat([tensor.reshape(-1) for tensor in same])
            torch.distributed.broadcast(flat, src=0)
            _unpack(flat, same)


def _unpack(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def share(team: Team, count: int) -> slice:
    """Which of `count` things this worker takes: contiguous, sizes differ by at most one."""
    return slice(count * team.rank // team.size, count * (team.rank + 1) // team.size)


def agree(team: Team, *numbers: float) -> tuple[float, ...]:
    """Worker 0's numbers, for every worker."""
    if team.size == 1:
        return numbers
    said = torch.tensor(numbers, dtype=torch.float64)
    team.copy([said])
    return tuple(said.tolist())
