"""The person alone: linear colour premultiplied by coverage, to be laid over any background exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from being.synthetic import rig
from being.synthetic.kernels import jit
from being.synthetic.shading import BACKDROP, shade
from being.synthetic.tracing import EDGE_SAMPLES, FAR, TILE, coarse, develop, march, on_edge

Intrinsics = tuple[float, float, float, float]


@dataclass(frozen=True)
class Cutout:
    """colour (H, W, 3) linear light, premultiplied; alpha (H, W) in [0, 1]; part (H, W) ids; depth (H, W) dm."""

    colour: NDArray[np.float32]
    alpha: NDArray[np.float32]
    part: NDArray[np.uint8]
    depth: NDArray[np.float32]

    def over(self, behind: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The picture, RGB (H, W, 3), before a background in linear light: (H, W, 3) or one colour (3,)."""
        image = (self.colour + (1 - self.alpha[..., None]) * behind).astype(np.float32)
        out = np.empty(image.shape, np.uint8)
        develop(image, out)
        return out


def cut_out(state: rig.FaceState, width: int, height: int, intrinsics: Intrinsics) -> Cutout:
    """Draw a state without any background."""
    p = rig.parameters(state)
    starts = np.empty((-(-height // TILE), -(-width // TILE)), np.float64)
    colour, alpha = np.empty((height, width, 3), np.float32), np.empty((height, width), np.float32)
    part, depth = np.empty((height, width), np.uint8), np.empty((height, width), np.float32)
    coarse(width, height, *intrinsics, p, starts)
    _trace(*intrinsics, p, starts, colour, alpha, part, depth)
    return Cutout(colour, alpha, part, depth)


@jit
def _sample(px, py, fx, fy, cx, cy, start, p):
    """Part, distance and linear colour at an image point; nothing is black."""
    if start >= 0.0:
        t, dx, dy, dz = march(px, py, fx, fy, cx, cy, start, p)
        if t >= 0.0:
            part, r, g, b = shade(dx * t, dy * t, dz * t, dx, dy, dz, p)
            return part, t, r, g, b
    return BACKDROP, FAR, 0.0, 0.0, 0.0


@jit
def _trace(fx, fy, cx, cy, p, starts, colour, alpha, part, depth):
    """As `tracing.trace`, with coverage."""
    height, width = part.shape
    for j in range(height):
        for i in range(width):
            k, t, r, g, b = _sample(i + 0.5, j + 0.5, fx, fy, cx, cy, starts[j // TILE, i // TILE], p)
            part[j, i], depth[j, i] = k, t
            alpha[j, i] = 0.0 if k == BACKDROP else 1.0
            colour[j, i, 0], colour[j, i, 1], colour[j, i, 2] = r, g, b
    for j in range(height):
        for i in range(width):
            if not on_edge(part, depth, j, i):
                continue
            r = g = b = covered = 0.0
            for n in range(4):
                ox, oy = EDGE_SAMPLES[n]
                k, _, sr, sg, sb = _sample(i + 0.5 + ox, j + 0.5 + oy, fx, fy, cx, cy, starts[j // TILE, i // TILE], p)
                covered += 0.0 if k == BACKDROP else 1.0
                r, g, b = r + min(1.2, sr), g + min(1.2, sg), b + min(1.2, sb)
            alpha[j, i] = 0.25 * covered
            colour[j, i, 0], colour[j, i, 1], colour[j, i, 2] = 0.25 * r, 0.25 * g, 0.25 * b
