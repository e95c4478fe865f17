"""Backgrounds drawn by lot, to stand behind film and drawn person alike while training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CELLS = 8  # patches a side of the finest one


def random_patches(count: int, generator: torch.Generator, mine: slice = slice(None)) -> Tensor:
    """Of `count` backgrounds the slice `mine`, (B, 3, CELLS, CELLS) in [0, 1]: a colour each, with patches of others.

    The generator is on the CPU and is used alike whatever the slice.
    """
    colour = torch.rand((count, 3, 1, 1), generator=generator)
    colour = (1.6 * colour - 0.3).clamp(0, 1)  # black, white and full colours come often
    patches = torch.rand((count, 3, CELLS, CELLS), generator=generator)
    share = torch.rand((count, 1, 1, 1), generator=generator)
    return (colour + share * (patches - colour))[mine]


def grown(patches: Tensor, height: int, width: int) -> Tensor:
    """Patches (B, 3, K, K) as smooth pictures (B, H, W, 3)."""
    fine = F.interpolate(patches, (height, width), mode="bilinear", align_corners=False)
    return fine.permute(0, 2, 3, 1).contiguous()
