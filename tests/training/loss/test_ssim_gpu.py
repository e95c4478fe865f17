"""The GPU's similarity against its plain twin; without a GPU it runs in Triton's interpreter."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton", reason="Triton is not installed (it comes with PyTorch's CUDA builds)")

from being.training.loss.losses import _ssim_kernel, ssim_map
from being.training.loss.ssim_gpu import MeanSsim

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("shape", [(1, 16, 50, 3), (2, 21, 9, 3)])
def test_value_and_gradient_are_the_twin_s(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    truth = torch.rand(shape, generator=generator).to(DEVICE)
    noisy = (truth + 0.2 * torch.rand(shape, generator=generator).to(DEVICE)).clamp(0, 1)
    flat = torch.full(shape, 0.7, device=DEVICE)  # no variance: where single precision cancels
    for start in (noisy, flat):
        ours, plain = start.clone().requires_grad_(), start.clone().requires_grad_()
        value = MeanSsim.apply(ours, truth, _ssim_kernel(DEVICE, torch.float32))
        wanted = ssim_map(plain, truth).mean()
        (3 * value).backward()
        (3 * wanted).backward()
        torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-6)
        assert ours.grad is not None and plain.grad is not None
        torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-3, atol=1e-3 * float(plain.grad.abs().max()))
