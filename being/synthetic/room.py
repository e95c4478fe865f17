"""A room to film in, far behind the person, as any camera sees it: papered walls, pictures, a shelf of books."""

from __future__ import annotations

from math import floor, sin

import numpy as np
from numpy.typing import ArrayLike, NDArray

from being.synthetic.kernels import jit
from being.synthetic.shading import mix, smooth_step
from being.synthetic.tracing import develop

WALL = 14.0  # dm from the still camera
EDGE = 0.012  # softness of every edge, in half pictures: a moving camera must not make them flicker
_FRAMES = ((-0.72, 0.62, 0.20, 0.26, 0.62, 0.20, 0.15), (0.28, 0.86, 0.17, 0.11, 0.12, 0.34, 0.42))


@jit
def _inside(u, v, cu, cv, half_u, half_v):
    """1 inside a rectangle, 0 outside, soft at its edge."""
    across = smooth_step(half_u + EDGE, half_u - EDGE, abs(u - cu))
    return across * smooth_step(half_v + EDGE, half_v - EDGE, abs(v - cv))


@jit
def _wall(u, v):
    """Linear colour at u, v (y up), where the still camera sees [-1, 1]."""
    stripe = smooth_step(-0.25, 0.25, sin(u * 26.0))
    shade = 0.75 + 0.25 / (1.0 + 0.5 * (u * u + v * v))
    c = mix((0.40, 0.42, 0.40), (0.33, 0.36, 0.37), stripe)
    c = (c[0] * shade, c[1] * shade, c[2] * shade)
    for n in range(len(_FRAMES)):
        cu, cv, half_u, half_v, red, green, blue = _FRAMES[n]
        c = mix(c, (0.10, 0.07, 0.05), _inside(u, v, cu, cv, half_u, half_v))
        wave = 0.6 + 0.4 * sin(19.0 * (u - cu) + 23.0 * (v - cv) * (v - cv + 0.3))
        c = mix(c, (red * wave, green * wave, blue * wave), _inside(u, v, cu, cv, half_u - 0.03, half_v - 0.03))
    # the shelf: three rows of books to the right
    for row in range(3):
        foot = 0.10 - 0.52 * row
        c = mix(c, (0.17, 0.10, 0.06), _inside(u, v, 1.02, foot - 0.02, 0.44, 0.02))
        n = floor(u / 0.075)
        if 8 <= n < 19:
            hue = sin(12.9898 * n + 78.233 * row) * 437.585
            hue -= floor(hue)
            tall = 0.15 + 0.05 * hue
            tint = (0.08 + 0.45 * hue, 0.10 + 0.25 * (1.0 - hue), 0.10 + 0.35 * abs(hue - 0.4))
            c = mix(c, tint, _inside(u, v, (n + 0.5) * 0.075, foot + tall, 0.034, tall))
    # a door frame to the left
    c = mix(c, (0.62, 0.60, 0.56), _inside(u, v, -1.25, 0.0, 0.06, 4.0))
    return c


@jit
def _fill(to_wall, image):
    for j in range(image.shape[0]):
        for i in range(image.shape[1]):
            x, y = i + 0.5, j + 0.5
            w = to_wall[2, 0] * x + to_wall[2, 1] * y + to_wall[2, 2]
            u = (to_wall[0, 0] * x + to_wall[0, 1] * y + to_wall[0, 2]) / w
            v = (to_wall[1, 0] * x + to_wall[1, 1] * y + to_wall[1, 2]) / w
            image[j, i, 0], image[j, i, 1], image[j, i, 2] = _wall(u, v)


def draw_room(
    width: int, height: int, intrinsics: ArrayLike, pose: ArrayLike | None = None, still: ArrayLike | None = None
) -> NDArray[np.float32]:
    """The room without the person in linear light, (H, W, 3).

    Parameters
    ----------
    intrinsics : fx, fy, cx, cy of this picture, pixels. pose : (3, 4) from the still camera's space to this camera's.
    still : intrinsics of the still camera, which tell how large the room is; those of this picture where left out.
    """
    fx, fy, cx, cy = np.asarray(intrinsics, np.float64)
    moved = np.eye(3, 4) if pose is None else np.asarray(pose, np.float64)
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    to_pixel = matrix @ np.stack([moved[:, 0], moved[:, 1], WALL * moved[:, 2] + moved[:, 3]], axis=1)
    focal = float(np.asarray(intrinsics if still is None else still)[0])
    half = 0.5 * min(width, height) * WALL / focal  # dm of the wall that half a picture shows
    image = np.empty((height, width, 3), np.float32)
    _fill(np.diag([1 / half, -1 / half, 1]) @ np.linalg.inv(to_pixel), image)
    return image


def developed(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Linear light (H, W, 3) as the camera's picture, RGB (H, W, 3)."""
    out = np.empty(image.shape, np.uint8)
    develop(image, out)
    return out
