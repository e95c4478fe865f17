"""What both drawing paths hand to the engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Drawn:
    """A frame in host memory.

    rgb: (H, W, 3) uint8 over its background, straight colours where that is nothing. alpha: (H, W) uint8 coverage.
    depth: (H, W) float32 mean distance in decimetres, 0 where nothing is; None unless asked for.
    """

    rgb: npt.NDArray[np.uint8]
    alpha: npt.NDArray[np.uint8]
    depth: npt.NDArray[np.float32] | None = None
