"""Splats in camera space to pictures on a GPU, forward only."""

from __future__ import annotations

from torch import Tensor

from being.raster.gpu.blending import blend
from being.raster.gpu.projection import front_to_back


def draw_splats(
    parts: tuple[Tensor, ...], cameras: Tensor, rgb: Tensor, alpha: Tensor, far: Tensor | None = None
) -> None:
    """Draw B pictures; sides of at most 65535 tiles.

    parts : means (B, N, 3), quats (B, N, 4), scales (B, N, 3), opacities (B, N) in [0, 0.99], 0 where nothing may be
        drawn, colours (B, N, 3), in camera space; float32, contiguous.
    cameras : (B, 6) float32: fx fy cx cy, pixels, and the filters of `scaled_low_pass`, px^2.
    rgb, alpha, far : written, contiguous: premultiplied colours (B, H, W, 3), coverage (B, H, W), and, where it is
        wanted, depth weighed by coverage (B, H, W).
    """
    height, width = alpha.shape[1:]
    records, rows = front_to_back(parts, cameras, width, height)
    blend(records, rows, rgb, alpha, far)
