"""Lean offsets look like all of them from where the camera usually is, and nearly so from beside it."""

from __future__ import annotations

import numpy as np
import torch
from support.fast_scene import COUNT, scene

from being.model.approx.lean import colours_seen, to_lean, to_lean_torch, usual_viewpoint
from being.raster.sh import spherical_harmonics_reference

VIEWPOINT = np.array([0.3, -0.2, 6.5], np.float32)


def colours(sh: np.ndarray, xyz: np.ndarray, viewpoint: np.ndarray) -> np.ndarray:
    directions = torch.from_numpy(xyz - viewpoint)
    return spherical_harmonics_reference(
        torch.from_numpy(sh), directions / directions.norm(dim=1, keepdim=True)
    ).numpy()


def test_colours_are_those_of_all_offsets() -> None:
    gaussians = scene().gaussians
    xyz, canonical = gaussians.xyz.numpy(), gaussians.sh.numpy()
    offsets = np.random.default_rng(0).normal(0, 0.05, (2, COUNT, 59)).astype(np.float32)
    lean = to_lean(offsets, colours_seen(gaussians, VIEWPOINT))
    assert lean.shape == (2, COUNT, 14)
    np.testing.assert_array_equal(lean[..., :11], offsets[..., :11])
    moved = canonical + offsets[0, :, 11:].reshape(COUNT, 16, 3)
    short = canonical.copy()
    short[:, 0] += lean[0, :, 11:]
    left_out = canonical.copy()
    left_out[:, 0] += offsets[0, :, 11:14]
    for viewpoint, share in ((VIEWPOINT, 1e-4), (VIEWPOINT + np.float32([0.5, 0.3, 0.2]), 0.5)):
        exact = colours(moved, xyz, viewpoint)
        error = np.abs(colours(short, xyz, viewpoint) - exact).mean()
        assert error < share * np.abs(colours(left_out, xyz, viewpoint) - exact).mean()


def test_torch_agrees() -> None:
    gaussians = scene().gaussians
    offsets = np.random.default_rng(1).normal(size=(3, COUNT, 59)).astype(np.float32)
    seen = colours_seen(gaussians, None)
    twin = to_lean_torch(torch.from_numpy(offsets), torch.from_numpy(seen))
    np.testing.assert_allclose(twin.numpy(), to_lean(offsets, seen), atol=1e-5)


def test_the_usual_viewpoint_is_the_cameras_mean() -> None:
    turned = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], np.float32)
    centres = np.array([[0, 0, 6], [2, 0, 6]], np.float32)
    poses = np.stack([np.hstack([turned, -turned @ centre[:, None]]) for centre in centres])
    np.testing.assert_allclose(usual_viewpoint(poses), [1, 0, 6], atol=1e-6)
