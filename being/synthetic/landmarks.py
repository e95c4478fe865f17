"""Exact truth of a frame: the 68 iBUG landmarks, where they project and which of them are seen.

Lips and lids come from the curves that shape them; jaw, brows and nose are found on the skin along fixed rays.
Numbering: 0-16 jaw, 17-26 brows, 27-35 nose, 36-47 eyes, 48-59 outer lip, 60-67 inner lip, image left first.
"""

from __future__ import annotations

from math import cos, sin, sqrt

import numpy as np
from numpy.typing import NDArray

from being.synthetic import anatomy, rig
from being.synthetic.anatomy import lid_edges, lip_edges, scene, skin_of_head
from being.synthetic.kernels import jit
from being.synthetic.tracing import NEAR, intrinsics

COUNT = 68
UPPER_LIP, LOWER_LIP = 62, 66  # the inner edges at the centre
HIDDEN_BEHIND = 0.08  # dm: a point this far behind what the camera sees is hidden

# Where annotators and face meshes put the points of a curve: along the lips (1 is the corner) and down the nose.
_UPPER_LIP_S, _LOWER_LIP_S = (0.78, 0.30, 0.0), (0.76, 0.52, 0.0)
_NOSE_BRIDGE_Y = (0.110, -0.055, -0.190, -0.272)
_NOSTRILS_X = (-0.155, -0.075, 0.0, 0.075, 0.155)
_LEFT, _RIGHT = -1.0, 1.0


@jit
def skin_depth(x, y, p):
    """z of the skin at x, y of head space, seen along the z axis from the front."""
    z = 1.5
    for _ in range(60):
        d = skin_of_head(x, y, z, p)
        if d < 0.0008 or z < -0.5:
            break
        z -= 0.9 * d
    return z


@jit
def skin_along(ox, oy, oz, dx, dy, dz, p):
    """How far from an inner point the skin lies along a unit direction, coming from outside."""
    t = 1.6
    for _ in range(60):
        d = skin_of_head(ox + dx * t, oy + dy * t, oz + dz * t, p)
        if d < 0.0008 or t < 0.0:
            break
        t -= 0.85 * d
    return t


@jit
def lip_point(s, y, outer, p):
    """The lip's surface at s (-1 corner .. 1 corner) and height y; inner edges lie half a lip behind the front."""
    x = s * p[rig.LIP_HALF_WIDTH]
    if outer:
        return x, y, skin_depth(x, y, p)
    front = p[rig.LIP_Z] - p[rig.LIP_CURVE] * x * x - p[rig.LIP_SINK] * s * s * s * s
    return x, y, front - 0.02 - 0.035 * sqrt(1.0 - s * s)


@jit
def head_landmarks(p, out):
    """Fill out (68, 3) with the landmarks in head space."""
    for k in range(17):  # jaw: rays from inside the head, through the widest line of the face
        angle = (k - 8) * 0.236
        forward = 0.22 + 0.32 * cos(angle) * cos(angle)
        dx, dy, dz = sin(angle), -cos(angle), forward
        n = 1.0 / sqrt(dx * dx + dy * dy + dz * dz)
        dx, dy, dz = dx * n, dy * n, dz * n
        t = skin_along(0.0, -0.15, 0.12, dx, dy, dz, p)
        out[k, 0], out[k, 1], out[k, 2] = dx * t, -0.15 + dy * t, 0.12 + dz * t
    span = anatomy.BROW_OUTER - anatomy.BROW_INNER
    for k in range(5):
        for side in (_LEFT, _RIGHT):
            t = 1.0 - 0.25 * k if side < 0 else 0.25 * k
            x = side * (anatomy.BROW_INNER + t * span)
            y = anatomy.brow_spine(t, x, p)
            index = 17 + k if side < 0 else 22 + k
            out[index, 0], out[index, 1], out[index, 2] = x, y, skin_depth(x, y, p)
    for k in range(4):
        y = _NOSE_BRIDGE_Y[k]
        out[27 + k, 0], out[27 + k, 1], out[27 + k, 2] = 0.0, y, skin_depth(0.0, y, p)
    for k in range(5):
        x = _NOSTRILS_X[k]
        y = -0.368 + 0.010 * abs(k - 2)
        out[31 + k, 0], out[31 + k, 1], out[31 + k, 2] = x, y, skin_depth(x, y, p)
    for k in range(6):
        for side in (_LEFT, _RIGHT):
            # positions along the lid, outward positive; image-left eyes start at the outer corner
            u = (1.0, 0.34, -0.34, -1.0, -0.34, 0.34)[k] if side < 0 else (-1.0, -0.34, 0.34, 1.0, 0.34, -0.34)[k]
            u *= anatomy.EYE_HALF_WIDTH
            upper, lower = lid_edges(u, side, p)
            v = upper if 1 <= k <= 2 else lower
            r = anatomy.EYE_RADIUS
            z = anatomy.EYE_Z + r * sqrt(max(0.05, 1.33 - u * u - v * v))
            index = 36 + k if side < 0 else 42 + k
            out[index, 0], out[index, 1], out[index, 2] = side * (anatomy.EYE_X + r * u), anatomy.EYE_Y + r * v, z
    for k in range(12):
        if k == 0 or k == 6:
            s = -0.97 if k == 0 else 0.97
            _, upper, lower, _ = lip_edges(s, p)
            point = lip_point(s, 0.5 * (upper + lower), True, p)
        elif k < 6:
            s = -_UPPER_LIP_S[k - 1] if k <= 3 else _UPPER_LIP_S[5 - k]
            point = lip_point(s, lip_edges(s, p)[0], True, p)
        else:
            s = _LOWER_LIP_S[k - 7] if k <= 9 else -_LOWER_LIP_S[11 - k]
            point = lip_point(s, lip_edges(s, p)[3], True, p)
        out[48 + k, 0], out[48 + k, 1], out[48 + k, 2] = point
    for k in range(8):
        s = (-0.90, -0.42, 0.0, 0.42, 0.90, 0.42, 0.0, -0.42)[k]
        _, upper, lower, _ = lip_edges(s, p)
        y = 0.5 * (upper + lower) if k == 0 or k == 4 else (upper if k < 4 else lower)
        out[60 + k, 0], out[60 + k, 1], out[60 + k, 2] = lip_point(s, y, False, p)


@jit
def see(points, fx, fy, cx, cy, p, pixels, seen):
    """Project head-space points (N, 3) to pixels (N, 2) and mark which the camera sees (N,)."""
    for i in range(points.shape[0]):
        x, y, z = points[i]
        vx = p[0] * x + p[1] * y + p[2] * z + p[9]
        vy = p[3] * x + p[4] * y + p[5] * z + p[10]
        vz = p[6] * x + p[7] * y + p[8] * z + p[11]
        pixels[i, 0] = cx + fx * vx / -vz
        pixels[i, 1] = cy + fy * vy / vz
        length = sqrt(vx * vx + vy * vy + vz * vz)
        dx, dy, dz = vx / length, vy / length, vz / length
        t = NEAR
        for _ in range(60):
            d = scene(dx * t, dy * t, dz * t, p)
            if d < 0.002 or t > length:
                break
            t += 0.88 * d
        seen[i] = t > length - HIDDEN_BEHIND


def landmarks(
    state: rig.FaceState, width: int, height: int, camera: tuple[float, float, float, float] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The 68 landmarks of a state: pixels (68, 2) and whether each is visible (68,).

    `camera`: fx, fy, cx, cy in pixels where it is another than that of the picture's size.
    """
    p = rig.parameters(state)
    points = np.empty((COUNT, 3))
    head_landmarks(p, points)
    pixels, seen = np.empty((COUNT, 2)), np.empty(COUNT, np.bool_)
    see(points, *(camera or intrinsics(width, height)), p, pixels, seen)
    return pixels, seen
