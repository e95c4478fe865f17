"""Refiners that can be followed by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from being.inference.frames import Extras
from being.refine.contract import Conditions, CropRows


class Inverting:
    """Answers each crop's negative, and remembers what came."""

    def __init__(self, sizes: tuple[int, ...] = (16, 32), fade: float = 1.0, needs: Extras = Extras.NONE) -> None:
        self.sizes, self.fade, self.needs = sizes, fade, needs
        self.calls: list[tuple[Tensor, Conditions, CropRows]] = []
        self.prepared: list[str] = []

    def prepare(self, avatar: str) -> None:
        self.prepared.append(avatar)

    def forget(self, avatar: str) -> None:
        self.prepared.remove(avatar)

    def knows(self, avatar: str) -> bool:
        return avatar != "stranger"

    def refine(self, crops: Tensor, conditions: Conditions, rows: CropRows) -> Tensor:
        self.calls.append((crops.clone(), conditions, rows))
        return 1 - crops


def smooth(height: int, width: int) -> Tensor:
    """(height, width, 3) in [0, 1] without edges."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack([x, y, (x + y) / 2], -1)
