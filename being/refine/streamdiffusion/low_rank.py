"""Low-rank changes of linear layers, another for each row of a batch (LoRA, Hu et al. 2021).

y = x W + (x A) B, where A and B are the row's own: rows of different people share one product with W and one
CUDA graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LowRank:
    """The change of one linear layer for N pictures: down (N, C, r), up (N, r, D)."""

    down: Tensor
    up: Tensor

    def added(self, y: Tensor, x: Tensor) -> Tensor:
        """y + x A B of tokens x (M, C) and y (M, D), M / N of them of each picture."""
        count = len(self.down)
        inner = torch.bmm(x.reshape(count, -1, x.shape[-1]), self.down)
        return torch.baddbmm(y.view(count, -1, y.shape[-1]), inner, self.up).view_as(y)


@dataclass(frozen=True, eq=False)
class AttentionChange:
    """What changes in one `TransformerBlock`: self attention's two products, and the two with the prompt."""

    qkv: LowRank
    out: LowRank
    scores: LowRank
    result: LowRank

    @property
    def parts(self) -> tuple[LowRank, LowRank, LowRank, LowRank]:
        return self.qkv, self.out, self.scores, self.result


def linear(x: Tensor, weight: Tensor, change: LowRank | None) -> Tensor:
    """Tokens (M, C), (D, C) -> (M, D), with a change of each picture's own where there is one."""
    y = F.linear(x, weight)
    return y if change is None else change.added(y, x)
