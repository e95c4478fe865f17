"""What both drawing paths hand to the engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class RenderedFrame:
    """A frame in host memory.

    picture: (H, W, 3) uint8 RGB over its background, straight colours where that is nothing; where `yuv` is set, the
    4:2:0 planes (3 H / 2, W) instead. alpha: (H, W) uint8 coverage.
    depth: (H, W) float32 mean distance in decimetres, 0 where nothing is; None unless asked for.
    """

    picture: npt.NDArray[np.uint8]
    alpha: npt.NDArray[np.uint8]
    depth: npt.NDArray[np.float32] | None = None
    yuv: bool = False
