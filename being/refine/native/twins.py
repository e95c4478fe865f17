"""The native refiner's small operations in plain PyTorch: what `being.refine.native.kernels` computes on a GPU.

x is everywhere (N, 4, S, S) float32, RGB and coverage.
"""

from __future__ import annotations

from torch import Tensor

from being.refine.native.gain import added
from being.refine.native.references import References, View


def thumbnails(references: References, x: Tensor, view: View) -> Tensor:
    """The crops in the chart, grey levels: (N, 3, T/8, T/8)."""
    return references.thumbnails(x[:, :3], view)


def laid(references: References, texture: Tensor, unlike: Tensor | None, view: View) -> Tensor:
    """A mix of differences in the chart (N, 3, T, T) laid onto crops, and how unlike the nearest reference is at the
    nodes (N, 1, NODES, NODES) beside it: (N, 3 or 4, S, S)."""
    return references.laid(texture.float(), unlike, view)


def sharpened(x: Tensor, change: Tensor, gain: Tensor) -> Tensor:
    """The change (N, 3, S, S) with detail made as strong as the film's where the render covers."""
    return change + x[:, 3:4] * added(x[:, :3] + change, gain.float())
