"""Noise that sticks to the face: a texture of normal numbers on a plane through the head, seen as the frame sees it.

Noise that is fixed on the screen makes skin slide under its own pores. Here each of the 8 x 8 pixels under a latent
takes the number that lies where its ray meets the plane; the 64 are averaged and divided by the deviation of that
average, so that every latent is N(0, 1) again while its noise moves, turns and scales with the head (compare Chang et
al. 2024, "How I Warped Your Noise").
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from being.inference.compositing import fit_intrinsics

CHANNELS = 4  # of a latent
CELL = 8  # pixels a latent is wide
TEXELS = 1024  # side of a texture, which repeats
TEXTURES = 32  # kept on the device, 8 MB each
COARSER = 1.1  # texels are wider than pixels by this at the usual distance: none is skipped, so none flickers

_APART = np.arange(1 - CELL, CELL)
_OFFSETS = np.stack(np.meshgrid(_APART, _APART, indexing="ij")).reshape(2, -1).astype(np.float64)
_PAIRS = np.outer(CELL - np.abs(_APART), CELL - np.abs(_APART)).ravel().astype(np.float64)  # how many are so far apart

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FacePlane:
    """The plane z = `z` of an avatar's canonical space, and the camera that sees it.

    Attributes
    ----------
    z : of the face in canonical space, decimetres.
    distance : how far the face usually is from the camera, decimetres.
    intrinsics, recorded : fx, fy, cx, cy and the width and height they are for.
    """

    z: float
    distance: float
    intrinsics: tuple[float, float, float, float]
    recorded: tuple[int, int]


def texels_of_crops(
    planes: Sequence[FacePlane],
    poses: npt.NDArray[np.float32],
    windows: npt.NDArray[np.float32],
    frame_size: tuple[int, int],
    size: int,
) -> Floats:
    """(N, 3, 3) homographies from crops' pixels to texels, of any scale.

    poses : (N, 3, 4) canonical to camera. windows : (N, 4) x0, y0, x1, y1 of the crops in their frames. size : of the
    crops, pixels.
    """
    count = len(planes)
    camera, crop, scale = (np.tile(np.eye(3), (count, 1, 1)) for _ in range(3))
    inner = [fit_intrinsics(plane.intrinsics, plane.recorded, *frame_size) for plane in planes]
    camera[:, 0, 0], camera[:, 1, 1], camera[:, 0, 2], camera[:, 1, 2] = np.array(inner, np.float64).T
    sides = (windows[:, 2] - windows[:, 0]).astype(np.float64) / size
    crop[:, 0, 0] = crop[:, 1, 1] = sides
    crop[:, :2, 2] = windows[:, :2]
    at = np.asarray(poses, np.float64)
    plane = at[:, :, [0, 1, 3]]
    plane[:, :, 2] += np.array([plane.z for plane in planes])[:, None] * at[:, :, 2]
    octave = 2.0 ** np.ceil(np.log2(sides) - 1e-9)  # a resampled crop's pixels are of another size
    pitch = COARSER * octave * np.array([plane.distance for plane in planes]) / camera[:, 0, 0]
    scale[:, 0, 0] = scale[:, 1, 1] = 1 / pitch
    first, second, third = np.moveaxis(camera @ plane, 1, 0)  # rows
    # the adjugate: the inverse but for its scale, and there for a plane seen from its edge too
    back = np.stack([np.cross(second, third), np.cross(third, first), np.cross(first, second)], axis=2)
    found = scale @ back @ crop
    return found / np.maximum(np.abs(found).max(axis=(1, 2), keepdims=True), 1e-30)


def deviations(texels_of_crops: Floats, size: int) -> Floats:
    """(N,) standard deviations of the average of 8 x 8 numbers in the middle of crops.

    Two pixels d apart share a texel with probability max(0, 1 - |J d|) a direction, J the homography's derivative; the
    variance is the mean of that over all pairs.
    """
    middle = texels_of_crops @ np.array([size / 2, size / 2, 1])
    edge = np.abs(middle[:, 2]) < 1e-9  # the plane goes through the camera: all pixels see one texel
    middle[edge, 2] = 1
    centre, depth = middle[:, :2] / middle[:, 2:], middle[:, 2, None, None]
    derivative = (texels_of_crops[:, :2, :2] - centre[:, :, None] * texels_of_crops[:, 2:, :2]) / depth
    shared = np.clip(1 - np.abs(derivative @ _OFFSETS), 0, None).prod(axis=1)
    return np.where(edge, 1.0, np.sqrt(shared @ _PAIRS) / CELL**2)


class NoiseTextures:
    """Textures by seed on a device; the least recently used leave."""

    def __init__(self, device: torch.device, count: int = TEXTURES) -> None:
        self.bank = torch.zeros(count, TEXELS * TEXELS, CHANNELS, dtype=torch.float16, device=device)
        self._slots: OrderedDict[int, int] = OrderedDict()

    def slots(self, seeds: list[int]) -> list[int]:
        """Where the textures of seeds lie in the bank; those that are not there yet are drawn."""
        if len(set(seeds)) > len(self.bank):
            raise ValueError(f"{len(set(seeds))} seeds in one batch, at most {len(self.bank)}")
        for seed in seeds:
            if seed in self._slots:
                self._slots.move_to_end(seed)
        for seed in dict.fromkeys(seeds):
            if seed in self._slots:
                continue
            slot = len(self._slots)
            if slot == len(self.bank):
                _, slot = self._slots.popitem(last=False)
            drawn = torch.randn(self.bank.shape[1:], generator=torch.Generator().manual_seed(seed))
            self.bank[slot] = drawn.to(self.bank)
            self._slots[seed] = slot
        return [self._slots[seed] for seed in seeds]


def anchored_noise(bank: Tensor, slots: Tensor, maps: Tensor, size: int) -> Tensor:
    """Noise of crops, (N, size / 8, size / 8, 4) float32.

    Parameters
    ----------
    bank : of `NoiseTextures`. slots : (N,) int64.
    maps : (N, 10) float32, a homography from the crop's pixels to texels, row by row, and the deviation.
    """
    pixel = torch.arange(size, dtype=torch.float32, device=bank.device) + 0.5
    x, y = pixel[None, None, :], pixel[None, :, None]
    a = [maps[:, n, None, None] for n in range(9)]
    depth = a[6] * x + a[7] * y + a[8]
    column = torch.floor((a[0] * x + a[1] * y + a[2]) / depth).long() % TEXELS
    row = torch.floor((a[3] * x + a[4] * y + a[5]) / depth).long() % TEXELS
    numbers = bank.flatten(0, 1)[(slots[:, None, None] * TEXELS + row) * TEXELS + column]
    cells = size // CELL
    average = numbers.view(len(maps), cells, CELL, cells, CELL, CHANNELS).float().mean(dim=(2, 4))
    return average / maps[:, 9, None, None, None]
