"""Unit quaternions x y z w in vectors, (T, 4) float64, as scipy's Rotation has them.

Live frames are turned a few at a time, where a call of Rotation costs many times its arithmetic.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float64]

ALIKE = 1e-6  # half an angle, radians, under which its sine is the angle


def product(a: Vectors, b: Vectors) -> Vectors:
    """The turns (T, 4) of b followed by those of a; one of either may stand for all."""
    ax, ay, az, aw = a[:, 0], a[:, 1], a[:, 2], a[:, 3]
    bx, by, bz, bw = b[:, 0], b[:, 1], b[:, 2], b[:, 3]
    out = np.empty((max(len(a), len(b)), 4))
    out[:, 0] = aw * bx + ax * bw + ay * bz - az * by
    out[:, 1] = aw * by + ay * bw + az * bx - ax * bz
    out[:, 2] = aw * bz + az * bw + ax * by - ay * bx
    out[:, 3] = aw * bw - ax * bx - ay * by - az * bz
    return out


def inverse(turns: Vectors) -> Vectors:
    """The turns (T, 4) back."""
    return turns * (-1.0, -1.0, -1.0, 1.0)


def from_rotvec(vectors: Vectors) -> Vectors:
    """Turns (T, 4) by rotation vectors (T, 3), radians."""
    half = 0.5 * np.sqrt(np.square(vectors).sum(axis=1))
    out = np.empty((len(vectors), 4))
    out[:, :3] = vectors * (0.5 * np.sinc(half / np.pi))[:, None]
    out[:, 3] = np.cos(half)
    return out


def to_rotvec(turns: Vectors) -> Vectors:
    """Rotation vectors (T, 3) of turns (T, 4), the short way round."""
    sine = np.sqrt(np.square(turns[:, :3]).sum(axis=1))
    half = np.arctan2(sine, np.abs(turns[:, 3]))
    scale = np.where(sine < ALIKE, 2.0, 2 * half / np.maximum(sine, ALIKE))
    return turns[:, :3] * np.where(turns[:, 3] < 0, -scale, scale)[:, None]


def mixed(a: Vectors, b: Vectors, share: Vectors) -> Vectors:
    """Slerp the short way round (Shoemake 1985): share (T,) of b, 0 gives a; one of either may stand for all."""
    cosine = (a * b).sum(axis=1)
    angle = np.arccos(np.minimum(np.abs(cosine), 1.0))
    sine = np.sin(angle)
    alike = sine < ALIKE
    sine[alike] = 1.0
    of_b = np.where(alike, share, np.sin(share * angle) / sine)
    of_a = np.where(alike, 1 - share, np.sin((1 - share) * angle) / sine)
    return a * of_a[:, None] + b * np.where(cosine < 0, -of_b, of_b)[:, None]


def matrices(turns: Vectors) -> Vectors:
    """Rotation matrices (T, 3, 3)."""
    x, y, z, w = turns[:, 0], turns[:, 1], turns[:, 2], turns[:, 3]
    xx, yy, zz, ww = np.square(turns).T
    xy, zw, xz, yw, yz, xw = x * y, z * w, x * z, y * w, y * z, x * w
    out = np.empty((len(turns), 3, 3))
    out[:, 0, 0], out[:, 1, 1], out[:, 2, 2] = xx - yy - zz + ww, yy - xx - zz + ww, zz - xx - yy + ww
    out[:, 0, 1], out[:, 1, 0] = 2 * (xy - zw), 2 * (xy + zw)
    out[:, 0, 2], out[:, 2, 0] = 2 * (xz + yw), 2 * (xz - yw)
    out[:, 1, 2], out[:, 2, 1] = 2 * (yz - xw), 2 * (yz + xw)
    return out
