"""The detail term: strength of fine structure, not its place."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from being.training.loss.detail import detail_difference


def skin(seed: int, strength: float = 0.05) -> torch.Tensor:
    noise = torch.randn(1, 64, 64, 3, generator=torch.Generator().manual_seed(seed))
    return (0.5 + strength * noise).clamp(0, 1)


def test_pores_elsewhere_cost_little_and_no_pores_much() -> None:
    truth = skin(0)
    smooth = F.avg_pool2d(truth.permute(0, 3, 1, 2), 5, 1, 2).permute(0, 2, 3, 1)
    elsewhere, none = float(detail_difference(skin(1), truth)), float(detail_difference(smooth, truth))
    assert float(detail_difference(truth, truth)) == 0
    assert none > 4 * elsewhere
    assert float((skin(1) - truth).abs().mean()) > float((smooth - truth).abs().mean())  # a pixel loss wants none


def test_a_shade_is_no_detail() -> None:
    assert float(detail_difference(skin(0) * 0 + 0.2, skin(0) * 0 + 0.8)) < 1e-6


def test_its_gradient_strengthens_what_is_faint() -> None:
    truth, faint = skin(0), skin(0, 0.01).requires_grad_()
    detail_difference(faint, truth).backward()
    assert faint.grad is not None and bool(faint.grad.isfinite().all())
    stronger = detail_difference((faint - 20 * faint.grad).detach(), truth)
    assert float(stronger) < float(detail_difference(faint.detach(), truth))
