"""Frames of several sessions and people on one device, and the stages they pass before they leave it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from being.inference.frames import Drive, Extras, PixelFormat
from being.inference.rendered import FrameInfo


@dataclass(frozen=True, eq=False)
class FrameBatch:
    """B frames of one size.

    Attributes
    ----------
    info : whose they are; its face boxes where a stage needs them.
    pixels : as `pixel_format` says, B of them.
    alpha : (B, H, W) coverage, float32 in [0, 1]; uint8 where the pixels are bytes.
    pixel_format : of `pixels`.
    backdrops : (K, H, W, 3) uint8, what stands behind the frames. backdrop_of : (B,) int32, which behind each.
    clear : (B,) bool, nothing stands behind: composited colours are straight.
    depth : (B, H, W) float32 mean distance in decimetres, 0 where nothing is; None unless asked for.
    """

    info: FrameInfo
    pixels: Tensor
    alpha: Tensor
    pixel_format: PixelFormat
    backdrops: Tensor
    backdrop_of: Tensor
    clear: npt.NDArray[np.bool_]
    depth: Tensor | None = None

    def __len__(self) -> int:
        return len(self.info)

    def composited(self) -> FrameBatch:
        """The frames over their backgrounds as float32 in [0, 1]: what a stage that looks at pictures works on."""
        if self.pixel_format is PixelFormat.COMPOSITED:
            return self
        if self.pixel_format is PixelFormat.RGB:
            return self.with_pixels(self.pixels.float() / 255)
        if self.pixel_format is PixelFormat.YUV420:
            raise ValueError("planes are what leaves the last stage")
        alpha = self.alpha[..., None]
        over = self.pixels + (1 - alpha) * (self.backdrops[self.backdrop_of.long()].float() / 255)
        if self.clear.any():
            nothing = torch.from_numpy(self.clear).to(over.device)[:, None, None, None]
            over = torch.where(nothing, self.pixels / alpha.clamp_min(1 / 255), over)
        return self.with_pixels(over)

    def with_pixels(self, pixels: Tensor) -> FrameBatch:
        """The same frames with other composited pixels, (B, H, W, 3) float32 in [0, 1]."""
        return replace(self, pixels=pixels, pixel_format=PixelFormat.COMPOSITED)

    def take(self, rows: Sequence[int]) -> FrameBatch:
        """These frames alone, in this order; itself where they are all."""
        if list(rows) == list(range(len(self))):
            return self
        at = torch.tensor(list(rows), device=self.pixels.device)
        depth = None if self.depth is None else self.depth[at]
        return replace(
            self,
            info=self.info.take(rows),
            pixels=self.pixels[at],
            alpha=self.alpha[at],
            backdrop_of=self.backdrop_of[at],
            clear=self.clear[list(rows)],
            depth=depth,
        )

    def joined(self, other: FrameBatch) -> FrameBatch:
        """These frames, then others of the same size, format and device; depth where both have it."""
        both = self.depth is not None and other.depth is not None
        return replace(
            self,
            info=self.info.joined(other.info),
            pixels=torch.cat([self.pixels, other.pixels]),
            alpha=torch.cat([self.alpha, other.alpha]),
            backdrops=torch.cat([self.backdrops, other.backdrops]),
            backdrop_of=torch.cat([self.backdrop_of, other.backdrop_of + len(self.backdrops)]),
            clear=np.concatenate([self.clear, other.clear]),
            depth=torch.cat([self.depth, other.depth]) if both else None,  # type: ignore[list-item]
        )


class FrameStage(Protocol):
    """Changes frames on the device, before they are copied to the host: refining, a watermark.

    Frames in one batch belong to different people and sessions; they must come back in the same order, and none may
    depend on the others. Called by one thread at a time, under `torch.inference_mode`. What arrives is PREMULTIPLIED
    or RGB, whichever the backend draws fastest: `FrameBatch.composited` gives pictures of either.

    Attributes
    ----------
    needs : beside the pixels: FACE_BOX, DEPTH. Coverage is always there.
    """

    needs: Extras

    def __call__(self, batch: FrameBatch) -> FrameBatch: ...

    def concerns(self, drive: Drive) -> bool:
        """Whether a frame may be changed; one that no stage is concerned with is drawn as without stages."""
        return True

    def prepare(self, avatar: str) -> None:
        """Load what an avatar's frames need, when the avatar itself is loaded."""

    def forget(self, avatar: str) -> None:
        """Let go of what was loaded for an avatar: it has left the engine."""
