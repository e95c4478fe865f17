"""Lean offsets: 14 channels that stand for all 59, as seen from where the camera usually is.

The 45 offsets of the spherical harmonics above the constant only change colours, each by its basis function in the
direction of view. A head turns little before its camera, so their sum there is added to the constant's offset instead:
on a trained avatar that loses 0.1 dB of the mouth; leaving them out lost 1.7.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from being.model.approx.blocks import LEAN_CHANNELS, Floats
from being.model.gaussians import Gaussians
from being.raster.sh import C0, sh_basis

_CONSTANT = slice(11, LEAN_CHANNELS)  # of the offsets: the SH constant, red, green, blue


def usual_viewpoint(head_poses: npt.ArrayLike) -> Floats:
    """(3,) where in canonical space the camera is on average, dm; head_poses: (T, 3, 4), canonical to camera."""
    poses = np.asarray(head_poses, np.float32)
    return np.asarray(-np.einsum("tji,tj->ti", poses[:, :, :3], poses[:, :, 3]).mean(axis=0), np.float32)


def colours_seen(gaussians: Gaussians, viewpoint: Floats | None) -> Floats:
    """(N, 15): what a unit of each SH coefficient above the constant changes, in units of the constant.

    viewpoint : (3,) dm; None: from far ahead.
    """
    if viewpoint is None:
        directions = np.tile(np.array([0, 0, -1], np.float32), (gaussians.count, 1))
    else:
        directions = gaussians.xyz.detach().cpu().numpy() - viewpoint
        directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-6)
    return sh_basis(torch.from_numpy(directions), 16)[:, 1:].numpy() / np.float32(C0)


def to_lean(offsets: Floats, colours: Floats) -> Floats:
    """(..., N, 59) offsets and `colours_seen` (N, 15) to (..., N, 14)."""
    lean = offsets[..., :LEAN_CHANNELS].copy()
    above = offsets[..., LEAN_CHANNELS:].reshape(*offsets.shape[:-1], 15, 3)
    lean[..., _CONSTANT] += np.einsum("nk,...nkc->...nc", colours, above)
    return lean


def to_lean_torch(offsets: torch.Tensor, colours: torch.Tensor) -> torch.Tensor:
    """`to_lean` of PyTorch's tensors."""
    above = offsets[..., LEAN_CHANNELS:].unflatten(-1, (15, 3))
    constant = offsets[..., _CONSTANT] + torch.einsum("nk,...nkc->...nc", colours, above)
    return torch.cat([offsets[..., : _CONSTANT.start], constant], dim=-1)
