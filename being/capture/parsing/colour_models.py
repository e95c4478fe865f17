"""How likely a colour is in hair, skin or cloth of this clip: a Gaussian mixture, kept as a table over colour space.

The mixture is one Gaussian for each group that k-means finds: as good here as expectation maximisation, and a
hundredth of its time.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

BINS = 40  # cells of the table along each axis of CIE Lab
SAMPLES = 5_000  # colours a mixture is fitted to
SMALLEST_SHARE = 200  # samples for each component
STEPS = 12  # of k-means
SPREAD = 12.0  # grey levels squared added to every variance: cameras add noise, tables have cells
USUAL = 25  # percent of a model's own colours that count as rare in it
FLOOR = 1e-9  # density of a colour never seen


def lab_of(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB (H, W, 3) -> CIE Lab (H, W, 3) with the sensor's grain smoothed away and edges kept."""
    return cv2.cvtColor(cv2.bilateralFilter(image, 5, 20, 3), cv2.COLOR_RGB2LAB)


def cells_of(lab: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The table cell of every colour (..., 3) -> (...)."""
    bins = (lab.astype(np.int32) * BINS) >> 8
    return (bins[..., 0] * BINS + bins[..., 1]) * BINS + bins[..., 2]


@dataclass(frozen=True)
class ColourModel:
    """Density over Lab: `table` (BINS^3,) float32."""

    table: NDArray[np.float32]

    @classmethod
    def fit(cls, colours: NDArray[np.uint8], components: int, seed: int = 0) -> ColourModel:
        """Fit a mixture of at most `components` Gaussians to Lab colours (N, 3), N > 0."""
        order = np.random.default_rng(seed).permutation(len(colours))[:SAMPLES]
        samples = colours[order].astype(np.float32)
        groups = min(components, max(1, len(samples) // SMALLEST_SHARE))
        cv2.setRNGSeed(1 + seed)  # the start of k-means is drawn from OpenCV's generator
        stop = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, STEPS, 0.5)
        _, member, _ = cv2.kmeans(samples, groups, None, stop, 2, cv2.KMEANS_PP_CENTERS)
        axis = ((np.arange(BINS) + 0.5) * 256 / BINS).astype(np.float32)
        grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
        density = np.full(len(grid), FLOOR)
        for group in range(groups):
            own = samples[member[:, 0] == group]
            if len(own) < 4:
                continue
            covariance = np.cov(own.T) + np.eye(3) * SPREAD
            lower = np.linalg.cholesky(np.linalg.inv(covariance)).astype(np.float32)
            distance = ((grid - own.mean(0)) @ lower) ** 2
            share = len(own) / len(samples)
            density += share * np.exp(-0.5 * distance.sum(1)) / np.sqrt(np.linalg.det(2 * np.pi * covariance))
        return cls(density.astype(np.float32))

    def __call__(self, cells: NDArray[np.int32]) -> NDArray[np.float32]:
        """Density at table cells, see `cells_of`."""
        return self.table[cells]

    def admits(self, colours: NDArray[np.uint8], own: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Which Lab colours (..., 3) are as likely as all but the rarest of this model's `own` (N, 3)."""
        usual = np.percentile(self(cells_of(own)), USUAL) if len(own) else 0.0
        return self(cells_of(colours)) >= usual
