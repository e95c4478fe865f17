"""One frame of the character: sphere tracing with a coarse pass that skips empty space, and antialiased edges."""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from being.synthetic import rig
from being.synthetic.anatomy import scene
from being.synthetic.kernels import jit
from being.synthetic.looks import Look
from being.synthetic.shading import BACKDROP, backdrop, shade

TILE = 8
NEAR, FAR = 5.0, 10.5
EDGE_SAMPLES = ((0.125, -0.375), (0.375, 0.125), (-0.125, 0.375), (-0.375, -0.125))  # a rotated grid, pixels


@jit
def march(px, py, fx, fy, cx, cy, start, p):
    """Distance along the ray of an image point to the surface (negative: none), and the unit ray (kernel axes)."""
    dx, dy, dz = (px - cx) / fx, -(py - cy) / fy, -1.0
    m = 1.0 / sqrt(dx * dx + dy * dy + dz * dz)
    dx, dy, dz = dx * m, dy * m, dz * m
    t = start
    eps = 0.0006
    d = 1.0
    for _ in range(140):
        d = scene(dx * t, dy * t, dz * t, p)
        if d < eps:
            return t, dx, dy, dz
        t += d * 0.88
        if t > FAR:
            return -1.0, dx, dy, dz
    if d < 0.03:  # grazing a silhouette
        return t, dx, dy, dz
    return -1.0, dx, dy, dz


@jit
def sample(px, py, fx, fy, cx, cy, width, height, start, p):
    """Part, distance and linear colour seen at an image point."""
    t = -1.0
    if start >= 0.0:
        t, dx, dy, dz = march(px, py, fx, fy, cx, cy, start, p)
        if t >= 0.0:
            part, r, g, b = shade(dx * t, dy * t, dz * t, dx, dy, dz, p)
            return part, t, r, g, b
    half = 0.5 * min(width, height)
    r, g, b = backdrop((px - 0.5 * width) / half, (0.5 * height - py) / half, p)
    return BACKDROP, FAR, r, g, b


@jit
def to_display(v):
    """Linear light to an sRGB value in [0, 1], with a soft shoulder above 0.75."""
    v = max(0.0, v)
    if v > 0.75:
        v = 0.75 + 0.25 * (1.0 - 1.0 / (1.0 + (v - 0.75) / 0.25))
    if v <= 0.0031308:
        return 12.92 * v
    return 1.055 * v ** (1.0 / 2.4) - 0.055


@jit
def coarse(width, height, fx, fy, cx, cy, p, starts):
    """For every tile the distance at which its cone of rays may first touch something (negative: never)."""
    spread = TILE * 0.7072 / min(fx, fy)
    beside = np.full(starts.shape, -1.0)
    for j in range(starts.shape[0]):
        for i in range(starts.shape[1]):
            px, py = (i + 0.5) * TILE, (j + 0.5) * TILE
            dx, dy, dz = (px - cx) / fx, -(py - cy) / fy, -1.0
            m = 1.0 / sqrt(dx * dx + dy * dy + dz * dz)
            dx, dy, dz = dx * m, dy * m, dz * m
            t = NEAR
            starts[j, i] = -1.0
            for _ in range(60):
                d = scene(dx * t, dy * t, dz * t, p) * 0.88
                radius = spread * t
                if d <= radius * 1.05:
                    starts[j, i] = t - radius
                    break
                t += d - radius * 0.9
                if t > FAR:
                    break
    # Distances are a little too long along a silhouette, and the narrow cones of large pictures slip by: who has a
    # neighbour that is hit is traced from there.
    for j in range(starts.shape[0]):
        for i in range(starts.shape[1]):
            if starts[j, i] < 0.0:
                nearest = FAR
                for jj in range(max(0, j - 1), min(starts.shape[0], j + 2)):
                    for ii in range(max(0, i - 1), min(starts.shape[1], i + 2)):
                        if 0.0 <= starts[jj, ii] < nearest:
                            nearest = starts[jj, ii]
                if nearest < FAR:
                    beside[j, i] = nearest
    for j in range(starts.shape[0]):
        for i in range(starts.shape[1]):
            if beside[j, i] >= 0.0:
                starts[j, i] = beside[j, i]


@jit
def on_edge(part, depth, j, i):
    """Whether a neighbour of pixel (j, i) shows another part or lies at another depth: it is sampled again there."""
    height, width = part.shape
    k, t = part[j, i], depth[j, i]
    for n in range(4):
        jj = j + (n == 0) - (n == 1)
        ii = i + (n == 2) - (n == 3)
        if 0 <= jj < height and 0 <= ii < width and (part[jj, ii] != k or abs(depth[jj, ii] - t) > 0.06):
            return True
    return False


@jit
def trace(width, height, fx, fy, cx, cy, p, starts, image, part, depth):
    """Fill image (H, W, 3) linear, part (H, W) uint8 and depth (H, W); then resample the edges."""
    for j in range(height):
        for i in range(width):
            start = starts[j // TILE, i // TILE]
            k, t, r, g, b = sample(i + 0.5, j + 0.5, fx, fy, cx, cy, width, height, start, p)
            part[j, i] = k
            depth[j, i] = t
            image[j, i, 0], image[j, i, 1], image[j, i, 2] = r, g, b
    for j in range(height):
        for i in range(width):
            if not on_edge(part, depth, j, i):
                continue
            start = starts[j // TILE, i // TILE]
            r = g = b = 0.0
            for n in range(4):
                ox, oy = EDGE_SAMPLES[n]
                _, _, sr, sg, sb = sample(i + 0.5 + ox, j + 0.5 + oy, fx, fy, cx, cy, width, height, start, p)
                r, g, b = r + min(1.2, sr), g + min(1.2, sg), b + min(1.2, sb)
            image[j, i, 0], image[j, i, 1], image[j, i, 2] = 0.25 * r, 0.25 * g, 0.25 * b


@jit
def develop(image, out):
    """Linear light to bytes, in place of `out` (H, W, 3) uint8."""
    for j in range(image.shape[0]):
        for i in range(image.shape[1]):
            for c in range(3):
                out[j, i, c] = int(min(255.0, to_display(image[j, i, c]) * 255.0 + 0.5))


def intrinsics(width: int, height: int) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy in pixels of a picture of any size."""
    focal = 1.6 * min(width, height)
    return focal, focal, 0.5 * width, 0.5 * height


def draw(
    state: rig.FaceState, width: int, height: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """Picture (H, W, 3) uint8, part ids (H, W) uint8 and distance along the ray (H, W) of a state."""
    p = rig.parameters(state)
    fx, fy, cx, cy = intrinsics(width, height)
    starts = np.empty((-(-height // TILE), -(-width // TILE)), np.float64)
    image = np.empty((height, width, 3), np.float32)
    part = np.empty((height, width), np.uint8)
    depth = np.empty((height, width), np.float32)
    coarse(width, height, fx, fy, cx, cy, p, starts)
    trace(width, height, fx, fy, cx, cy, p, starts, image, part, depth)
    out = np.empty((height, width, 3), np.uint8)
    develop(image, out)
    return out, part, depth


@jit
def _fill_backdrop(image, p):
    height, width = image.shape[0], image.shape[1]
    half = 0.5 * min(width, height)
    for j in range(height):
        for i in range(width):
            u, v = (i + 0.5 - 0.5 * width) / half, (0.5 * height - j - 0.5) / half
            image[j, i, 0], image[j, i, 1], image[j, i, 2] = backdrop(u, v, p)


def draw_backdrop(width: int, height: int, look: Look) -> NDArray[np.uint8]:
    """The studio of a look without the person, RGB (H, W, 3) uint8."""
    image = np.empty((height, width, 3), np.float32)
    _fill_backdrop(image, rig.parameters(rig.FaceState(look=look)))
    out = np.empty((height, width, 3), np.uint8)
    develop(image, out)
    return out
