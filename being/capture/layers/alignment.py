"""A rigid surface followed by its looks: the pose that lays remembered pixels onto a new picture.

Lucas-Kanade in the pose's own parameters. Each remembered pixel is a point in canonical space with a grey level; the
pose is moved until the picture shows these levels where the points project, up to one gain and one offset a frame.
Everything is measured against the same remembered picture, so nothing drifts. What does not fit (a hand, a highlight)
is given little weight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

Array = NDArray[np.float64]

WORK_SIDE = 256  # pixels of the longer side of the pictures that are compared
BLURS = (3.0, 1.0)  # deviations in those pixels, coarse first: the coarse finds what moved far
STEPS = 6  # for each blur
LEAST_NOISE = 2.0  # grey levels
TUKEY = 4.685  # deviations of the noise beyond which a pixel does not count at all
LEAST_POINTS = 50  # that must be in sight
ALIKE = 8.0  # neighbouring pixels err together: so many count as one measurement


@dataclass(frozen=True)
class Small:
    """A picture to compare: grey float32 (h, w) for each of BLURS, and how many of its pixels make one of the frame."""

    levels: tuple[NDArray[np.float32], ...]
    scale: float


def small(frame: NDArray[np.uint8]) -> Small:
    """RGB (H, W, 3) -> the grey pictures to compare."""
    height, width = frame.shape[:2]
    scale = min(1.0, WORK_SIDE / max(height, width))
    grey = Image.fromarray(frame).convert("L")
    if scale < 1:
        grey = grey.resize((round(width * scale), round(height * scale)), Image.Resampling.BOX)
    pixels = np.asarray(grey, np.float32)
    return Small(tuple(gaussian_filter(pixels, blur) for blur in BLURS), scale)


@dataclass(frozen=True)
class Camera:
    """focal, cx, cy in pixels of the full frames."""

    focal: float
    cx: float
    cy: float

    def project(self, at: Array) -> Array:
        """Points (n, 3) in camera axes -> pixels (n, 2)."""
        return self.focal * at[:, :2] / at[:, 2:] + np.array([self.cx, self.cy])


@dataclass(frozen=True)
class Surface:
    """points (n, 3) canonical dm and their grey levels, (n,) for each of BLURS."""

    points: Array
    levels: tuple[Array, ...]

    @staticmethod
    def remember(points: Array, pose: Array, picture: Small, camera: Camera) -> Surface:
        """The looks of points (n, 3) in a picture where their pose (3, 4) is known."""
        pixels = camera.project(points @ pose[:, :3].T + pose[:, 3])
        return Surface(points, tuple(_look(level, pixels, picture.scale) for level in picture.levels))


def align(
    surface: Surface,
    picture: Small,
    start: Array,
    camera: Camera,
    anchor: Array,
    hold: Array,
    use: NDArray[np.bool_] | None = None,
) -> Array:
    """The pose (3, 4) of the surface in a picture.

    Parameters
    ----------
    start : (3, 4) where to begin.
    anchor : (3, 4) what the pose keeps to where the picture does not tell, as strongly as `hold` says:
    hold : (6,) deviations (a turn about the camera's x, y, z in radians, a move along them in dm); 0 keeps it fixed.
    use : (n,) which of the surface's points to look at.
    """
    chosen = np.ones(len(surface.points), bool) if use is None else use
    points = surface.points[chosen]
    free = hold > 0
    stiff = np.where(free, 1 / np.maximum(hold, 1e-9) ** 2, 0.0)
    turn, move = start[:, :3].copy(), start[:, 3].copy()
    strayed = np.append(Rotation.from_matrix(turn @ anchor[:, :3].T).as_rotvec(), move - anchor[:, 3])
    if len(points) < LEAST_POINTS:
        return start.copy()
    height, width = picture.levels[0].shape
    for known_all, level in zip(surface.levels, picture.levels, strict=True):
        known = known_all[chosen]
        down, across = np.gradient(level)
        for _ in range(STEPS):
            arm = points @ turn.T
            at = arm + move
            pixels = camera.project(at)
            inside = ((pixels * picture.scale > 1) & (pixels * picture.scale < (width - 2, height - 2))).all(axis=1)
            slope = np.stack([_look(across, pixels, picture.scale), _look(down, pixels, picture.scale)], 1)
            slope *= picture.scale * inside[:, None]
            z = at[:, 2]
            by_point = np.empty_like(at)
            by_point[:, :2] = slope * (camera.focal / z)[:, None]
            by_point[:, 2] = -(by_point[:, :2] * at[:, :2]).sum(axis=1) / z
            by_pose = np.concatenate([np.cross(arm, by_point), by_point], axis=1)[:, free]
            jacobian = np.concatenate([by_pose, known[:, None], np.ones((len(known), 1))], axis=1)
            error = _look(level, pixels, picture.scale) - known
            error -= np.median(error[inside]) if inside.any() else 0.0
            noise = max(1.4826 * float(np.median(np.abs(error[inside]))) if inside.any() else 0.0, LEAST_NOISE)
            weight = np.square(np.clip(1 - np.square(error / (TUKEY * noise)), 0, None)) * inside / (ALIKE * noise**2)
            system = (jacobian * weight[:, None]).T @ jacobian
            count = int(free.sum())
            system[:count, :count] += np.diag(stiff[free])
            system[range(count, count + 2), range(count, count + 2)] += 1e-9
            pull = (jacobian * weight[:, None]).T @ error
            pull[:count] += (stiff * strayed)[free]
            step = np.zeros(6)
            step[free] = -np.linalg.solve(system, pull)[:count]
            turn = Rotation.from_rotvec(step[:3]).as_matrix() @ turn
            move = move + step[3:]
            strayed += step
            if np.abs(step[:3]).max() < 1e-5 and np.abs(step[3:]).max() < 1e-4:
                break
    return np.concatenate([turn, move[:, None]], axis=1)


def _look(level: NDArray[np.float32], pixels: Array, scale: float) -> Array:
    """Grey levels (n,) at pixels (n, 2) of the full frame (the first pixel's centre is 0.5)."""
    at = pixels * scale - 0.5
    return map_coordinates(level, [at[:, 1], at[:, 0]], order=1, mode="nearest").astype(np.float64)
