"""The kernels against their twins; without a GPU in Triton's interpreter."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton", reason="Triton is not installed (it comes with PyTorch's CUDA builds)")

from being.refine.native import kernels, twins
from being.refine.native.gain import kernel_of
from being.refine.native.operations import _tried_out, operations
from being.refine.native.references import NODES, References, View

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SIDE, TEXELS = 24, 64


@pytest.fixture(scope="module")
def references() -> References:
    made = References(3, TEXELS)
    made.points[..., :2] = torch.rand(TEXELS // 4, TEXELS // 4, 2, generator=torch.Generator().manual_seed(0)) * 3 - 1.5
    made.pose[2, 3] = 8
    made.pose[:, :3] = torch.tensor([[0.96, 0.0, 0.28], [0.0, 1.0, 0.0], [-0.28, 0.0, 0.96]])
    made.camera.copy_(torch.tensor([8 * 32.0, 8 * 30.0, 32.0, 31.0]))
    return made.to(DEVICE)


@pytest.fixture(scope="module")
def view() -> View:
    """Two crops, parts of which show nothing or lie outside of the chart."""
    random = torch.Generator().manual_seed(1)
    depth = 8 + 0.5 * torch.rand(2, 1, SIDE, SIDE, generator=random)
    depth[:, :, :3] = 0
    poses = torch.eye(3, 4).repeat(2, 1, 1)
    poses[:, 2, 3] = 8
    poses[1, :, :3] = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.96, -0.28], [0.0, 0.28, 0.96]])
    cameras = torch.tensor([[90.0, 92.0, 12.0, 11.0], [60.0, 60.0, 13.0, 12.0]])
    return View(depth.to(DEVICE), cameras.to(DEVICE), poses.to(DEVICE))


@pytest.fixture(scope="module")
def x() -> torch.Tensor:
    return torch.rand(2, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(2)).to(DEVICE)


def test_thumbnails(references: References, view: View, x: torch.Tensor) -> None:
    wanted = twins.thumbnails(references, x, view)
    assert wanted.std() > 10
    torch.testing.assert_close(kernels.thumbnails(references, x, view), wanted, atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("with_unlike", [False, True])
def test_laid(references: References, view: View, dtype: torch.dtype, with_unlike: bool) -> None:
    random = torch.Generator().manual_seed(3)
    texture = (torch.rand(2, 3, TEXELS, TEXELS, generator=random) - 0.5).to(DEVICE, dtype)
    unlike = torch.rand(2, 1, NODES, NODES, generator=random).to(DEVICE) if with_unlike else None
    wanted = twins.laid(references, texture, unlike, view)
    assert (wanted == 0).any() and wanted.std() > 0.1
    torch.testing.assert_close(kernels.laid(references, texture, unlike, view), wanted, atol=2e-4, rtol=1e-3)


def test_sharpened(x: torch.Tensor) -> None:
    change = 0.1 * torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(4)).to(DEVICE)
    gain = kernel_of(torch.linspace(1, 2, 32), 7).to(DEVICE)
    wanted = twins.sharpened(x, change, gain)
    assert (wanted - change).abs().max() > 0.05
    torch.testing.assert_close(kernels.sharpened(x, change, gain), wanted, atol=1e-5, rtol=1e-4)


def test_they_are_tried_out_before_they_are_used() -> None:
    assert _tried_out(DEVICE) is kernels
    assert operations(torch.device("cpu")) is twins
