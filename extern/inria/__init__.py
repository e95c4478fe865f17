"""What INRIA's research packages may do here where the user has installed them; the rasterizer is a backend of ours."""

from being.extern.inria.spacing import neighbour_spacing

__all__ = ["neighbour_spacing"]
