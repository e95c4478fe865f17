"""The kernels that a frame on the CPU passes through, loaded while its avatar is still being read."""

from __future__ import annotations

import numpy as np

from being.inference.yuv import yuv_weights
from being.model.approx import CanonicalBlocks, assemble, fused, pca
from being.raster.cpu.picture import Backdrop, PictureRenderer, ScreenSplats
from being.raster.cpu.screen import NOT_DRAWN, camera_array

SIDE = 16  # pixels of the picture that nothing is drawn into


def load_kernels() -> None:
    """Run each on nothing: its code is read from numba's cache, or compiled, as the first frame would."""
    fused.load_kernel()
    pca.load_kernel()
    splats, still = ScreenSplats.empty(1), np.eye(3, 4, dtype=np.float32)
    camera = camera_array(np.ones(4, np.float32), SIDE, SIDE)
    nobody = CanonicalBlocks(np.zeros((0, 60, 64), np.float32), 0)
    assemble.assemble_on_screen(nobody, np.zeros((0, 14, 64), np.float32), still, still, camera, splats, threads=1)
    splats.depths.fill(NOT_DRAWN)
    PictureRenderer(1).draw(splats, Backdrop.of(np.zeros((SIDE, SIDE, 3), np.uint8)), yuv_weights())
