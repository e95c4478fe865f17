"""Pairs of what the avatar renders and what was filmed, in memory on the device that trains."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from being.refine.native.references import ZERO

OTHER_BACKGROUND = 0.25  # share of the crops
EXPOSURE = 0.06  # deviation of a common gain, so that a network does not learn the light by heart


@dataclass(frozen=True, eq=False)
class Pairs:
    """N pictures of one fixed square of the frames.

    Attributes
    ----------
    frames : (N,) int64 on the CPU, numbers in the footage, ascending within a source.
    renders, truth : (N, S, S, 3) uint8. alpha : (N, S, S) uint8 coverage of the render.
    plate : (S, S, 3) uint8, what stands behind both.
    windows : (N, 4) int64 on the CPU: x0, y0, x1, y1 of what is refined live, in pixels of the square.
    boxes : (N, 4) float32 on the CPU, the face boxes; lips : (N, 4) float32 on the CPU, around the mouth.
    seen : (N,) bool on the CPU: the avatar that drew it was trained on this very frame.
    avatars : (N,) int64 on the CPU, who drew it: 0 for the avatar that is refined, 1, 2, ... for those of the folds.
    head_poses : (N, 3, 4) float32 on the CPU.
    depth : (N, S, S) float16 of the render, decimetres, 0 where nothing is.
    camera : fx, fy, cx, cy of the square, pixels.
    """

    frames: Tensor
    renders: Tensor
    truth: Tensor
    alpha: Tensor
    plate: Tensor
    windows: Tensor
    boxes: Tensor
    lips: Tensor
    seen: Tensor
    avatars: Tensor
    head_poses: Tensor
    depth: Tensor
    camera: tuple[float, float, float, float]

    def __len__(self) -> int:
        return len(self.frames)

    def to(self, device: torch.device) -> Pairs:
        """The pictures on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("renders", "truth", "alpha", "plate", "depth")}
        return replace(self, **moved)


def packed(guide: Tensor) -> Tensor:
    """Guides (N, 4, S, S) as bytes (N, S, S, 4): a difference of 0 is ZERO."""
    moved = torch.cat([guide[:, :3] + ZERO / 255, guide[:, 3:]], 1)
    return (255 * moved).clamp(0, 255).round().byte().permute(0, 2, 3, 1)


def unpacked(stored: Tensor) -> Tensor:
    """The guides of `packed`, (N, 4, S, S) float32."""
    found = stored.permute(0, 3, 1, 2).float() / 255
    return torch.cat([found[:, :3] - ZERO / 255, found[:, 3:]], 1)


@dataclass(frozen=True, eq=False)
class Crops:
    """2 B crops of two frames in a row each: all first ones, then all second ones.

    render, truth : (2 B, 3, K, K) float32 in [0, 1]; alpha : (2 B, 1, K, K). follows : (B,) bool, the second frame
    really follows the first, with the same source. guide : (2 B, 4, K, K), see `being.refine.native.references`.
    """

    render: Tensor
    truth: Tensor
    alpha: Tensor
    follows: Tensor
    guide: Tensor | None = None

    def entering(self) -> Tensor:
        """What the network takes."""
        return torch.cat([self.render, self.alpha] + ([] if self.guide is None else [self.guide]), 1)


class CropSampler:
    """Draws crops inside the windows that are refined live.

    Some stand before another background, taken out by the render's own coverage, as they will live.
    """

    def __init__(
        self,
        pairs: Pairs,
        size: int,
        seen: float,
        seed: int,
        guides: Tensor | None = None,
        apart: Tensor | None = None,
    ) -> None:
        """guides : (N, S, S, 4) uint8 of the pairs, where the network has references. apart : (N,) bool, what is not
        drawn. Of what a fold's avatar was trained on nothing is."""
        side = pairs.renders.shape[1]
        self.guides = guides
        self.pairs, self.size = pairs, min(size, side - side % 8)
        self.random = torch.Generator().manual_seed(seed)
        drawn = torch.ones(len(pairs), dtype=torch.bool) if apart is None else ~apart
        unseen = torch.nonzero(drawn & ~pairs.seen).flatten()
        known = torch.nonzero(drawn & pairs.seen & (pairs.avatars == 0)).flatten()
        self._sources = [rows for rows in (unseen, known) if len(rows)]
        self._shares = torch.tensor([1 - seen, seen][: len(self._sources)] if len(unseen) else [1.0])
        follows = (pairs.frames[1:] - pairs.frames[:-1] == 1) & (drawn[1:] == drawn[:-1])
        for part in (pairs.seen, pairs.avatars):
            follows &= part[1:] == part[:-1]
        self._follows = torch.cat([follows, torch.zeros(1, dtype=torch.bool)])

    def draw(self, count: int) -> Crops:
        """`count` pairs of neighbouring frames (both the same where a frame has no neighbour)."""
        source = torch.multinomial(self._shares, count, replacement=True, generator=self.random)
        rows = torch.stack([self._one(self._sources[int(number)]) for number in source])
        follows = self._follows[rows]
        rows = torch.cat([rows, rows + follows.long()])
        where = self.pairs.windows[rows[:count]].repeat(2, 1)
        x, y = (self._start(where[:count, axis], where[:count, axis + 2]).repeat(2) for axis in (0, 1))
        device = self.pairs.renders.device
        span = torch.arange(self.size)
        picked = (
            rows[:, None, None].to(device),
            (y[:, None] + span)[:, :, None].to(device),
            (x[:, None] + span)[:, None, :].to(device),
        )
        render, truth = (
            part[picked].permute(0, 3, 1, 2).float() / 255 for part in (self.pairs.renders, self.pairs.truth)
        )
        alpha = self.pairs.alpha[picked][:, None].float() / 255
        plate = self.pairs.plate[picked[1], picked[2]].permute(0, 3, 1, 2).float() / 255
        render, truth = before_colours(render, truth, alpha, plate, self.random)
        gain = (1 + EXPOSURE * torch.randn(count, generator=self.random)).repeat(2)[:, None, None, None].to(device)
        guide = None
        if self.guides is not None:
            guide = unpacked(self.guides[picked])
            guide = torch.cat([guide[:, :3] * gain, guide[:, 3:]], 1)
        return Crops((render * gain).clamp(0, 1), (truth * gain).clamp(0, 1), alpha, follows.to(device), guide)

    def _one(self, rows: Tensor) -> Tensor:
        return rows[torch.randint(len(rows), (), generator=self.random)]

    def _start(self, low: Tensor, high: Tensor) -> Tensor:
        """Where crops begin, evenly drawn from where they lie in the windows (around them, if these are smaller)."""
        side = self.pairs.renders.shape[1]
        room = high - low - self.size
        first = low + torch.minimum(room, torch.zeros_like(room))
        drawn = first + (torch.rand(len(low), generator=self.random) * (room.abs() + 1)).long()
        return drawn.clamp(0, side - self.size)


def before_colours(
    render: Tensor, truth: Tensor, alpha: Tensor, plate: Tensor, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Some of 2 B crops (N, 3, K, K) before a plain colour in place of the plate, both frames of a row before the same;
    taken out by the render's own coverage, as they will live."""
    count = len(render) // 2
    colour = torch.rand(count, 3, 1, 1, generator=random).repeat(2, 1, 1, 1).to(render.device)
    other = torch.rand(count, generator=random) < OTHER_BACKGROUND
    change = (1 - alpha) * (colour - plate) * other.repeat(2)[:, None, None, None].to(render.device)
    return render + change, truth + change
