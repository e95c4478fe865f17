"""Noise that sticks to the face: a texture of normal numbers on a plane through the head, seen as the frame sees it.

Noise that is fixed on the screen makes skin slide under its own pores. Here each of the 8 x 8 pixels under a latent
takes the number that lies where its ray meets the plane; the 64 are averaged and divided by the deviation of that
average, so that every latent is N(0, 1) again while its noise moves, turns and scales with the head (compare Chang et
al. 2024, "How I Warped Your Noise").
"""

from __future__ import annotations

from collections import OrderedDict
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

    def texels_of_crop(
        self, pose: npt.NDArray[np.float32], window: npt.NDArray[np.float32], frame_size: tuple[int, int], size: int
    ) -> Floats:
        """(3, 3) homography from a crop's pixels to texels.

        pose : (3, 4) canonical to camera. window : x0, y0, x1, y1 of the crop in the frame. size : of the crop, pixels.
        """
        fx, fy, cx, cy = fit_intrinsics(self.intrinsics, self.recorded, *frame_size)
        side = float(window[2] - window[0])
        crop = np.array([[side / size, 0, window[0]], [0, side / size, window[1]], [0, 0, 1]], np.float64)
        camera = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)
        at = np.asarray(pose, np.float64)
        plane = np.stack([at[:, 0], at[:, 1], self.z * at[:, 2] + at[:, 3]], axis=1)
        octave = 2.0 ** np.ceil(np.log2(side / size) - 1e-9)  # a resampled crop's pixels are of another size
        pitch = COARSER * octave * self.distance / fx
        return np.diag([1 / pitch, 1 / pitch, 1]) @ np.linalg.inv(camera @ plane) @ crop


def deviation(texels_of_crop: Floats, size: int) -> float:
    """Standard deviation of the average of 8 x 8 numbers in the middle of a crop.

    Two pixels d apart share a texel with probability max(0, 1 - |J d|) a direction, J the homography's derivative; the
    variance is the mean of that over all pairs.
    """
    middle = texels_of_crop @ np.array([size / 2, size / 2, 1])
    derivative = (texels_of_crop[:2, :2] - np.outer(middle[:2] / middle[2], texels_of_crop[2, :2])) / middle[2]
    apart = np.arange(1 - CELL, CELL)
    pairs = np.outer(CELL - np.abs(apart), CELL - np.abs(apart))
    offsets = np.stack(np.meshgrid(apart, apart, indexing="ij"))
    shared = np.clip(1 - np.abs(np.einsum("ij,jab->iab", derivative, offsets)), 0, None).prod(axis=0)
    return float(np.sqrt((pairs * shared).sum()) / CELL**2)


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
