"""A refiner that can be seen, loaded by name as a configuration does."""

from __future__ import annotations

import torch

from being.inference.frame_batch import FrameBatch, FrameStage
from being.inference.frames import Extras


class RedSquare(FrameStage):
    """Paints the upper left corner, and remembers what came."""

    needs = Extras.FACE_BOX

    def __init__(self) -> None:
        self.batches: list[FrameBatch] = []

    def __call__(self, batch: FrameBatch) -> FrameBatch:
        self.batches.append(batch)
        pixels = batch.composited().pixels.clone()
        pixels[:, :24, :24] = torch.tensor([1.0, 0.0, 0.0], device=pixels.device)
        return batch.with_pixels(pixels)


def red_square(device: str) -> RedSquare:
    return RedSquare()
