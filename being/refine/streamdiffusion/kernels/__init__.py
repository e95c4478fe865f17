"""Triton kernels of the small operations; each function is the twin of one in `twins`."""

from __future__ import annotations

from being.refine.streamdiffusion.kernels.norms import group_norm, layer_norm
from being.refine.streamdiffusion.kernels.pictures import anchored_noise, channels_last, interleave
from being.refine.streamdiffusion.kernels.pointwise import add, geglu, softmax

__all__ = ["add", "anchored_noise", "channels_last", "geglu", "group_norm", "interleave", "layer_norm", "softmax"]
