"""Camera and splats in, pictures out: one function, `rasterize`, and a file for each way to compute it."""

from __future__ import annotations

from being.raster.colour import spherical_harmonics
from being.raster.contract import Cameras, Raster, Splats
from being.raster.rasterize import BACKENDS, rasterize

__all__ = ["BACKENDS", "Cameras", "Raster", "Splats", "rasterize", "spherical_harmonics"]
