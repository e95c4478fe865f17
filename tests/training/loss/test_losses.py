from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from being.errors import FormatError
from being.training.config import LossWeights
from being.training.loss.losses import areas_of, box_mask, masked_mean, picture_loss, psnr, ssim_map
from being.training.loss.perceptual import Perceptual


def pictures(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(2, 24, 30, 3, generator=generator)
    return a, (a + 0.2 * torch.randn(a.shape, generator=generator)).clamp(0, 1)


def test_ssim_is_that_of_the_paper() -> None:
    a, b = pictures()
    x, y = a.double().numpy(), b.double().numpy()
    kernel = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    kernel /= kernel.sum()

    def blur(v: np.ndarray) -> np.ndarray:
        return ndimage.convolve1d(
            ndimage.convolve1d(v, kernel, axis=1, mode="constant"), kernel, axis=2, mode="constant"
        )

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    expected = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    np.testing.assert_allclose(ssim_map(a, b).numpy(), expected.mean(-1), atol=2e-5)
    assert float(ssim_map(a, a).min()) == pytest.approx(1, abs=1e-4)


def test_psnr_counts_the_mask_only() -> None:
    truth = torch.zeros(1, 4, 4, 3)
    drawn = truth.clone()
    drawn[0, 0, 0] = 0.1
    drawn[0, 3, 3] = 1.0
    mask = torch.zeros(1, 4, 4)
    mask[0, 0, :2] = 1  # two pixels, one of them wrong by 0.1: mean square 0.005
    assert float(psnr(drawn, truth, mask)) == pytest.approx(-10 * np.log10(0.005), abs=1e-4)


def test_boxes_cover_whole_pixels() -> None:
    mask = box_mask(torch.tensor([[[1.0, 2.0, 3.0, 3.0], [5.0, 0.0, 6.0, 1.0]]]), 4, 6)
    expected = torch.zeros(4, 6)
    expected[2, 1:3] = 1
    expected[0, 5] = 1
    assert torch.equal(mask[0], expected)
    assert float(masked_mean(torch.ones(1, 4, 6), torch.zeros(1, 4, 6))) == 0


def test_parts_add_up_and_zero_weights_leave_parts_out() -> None:
    a, b = pictures()
    mask = torch.ones(2, 24, 30)
    lips, eyes = torch.tensor([[2.0, 2, 9, 8]] * 2), torch.tensor([[[1.0, 1, 4, 4], [6, 1, 9, 4]]] * 2)
    loss = picture_loss(a, mask * 0.5, b, mask, lips, eyes, LossWeights(), torch.ones(2, 5, 3))
    assert float(loss.total) == pytest.approx(sum(float(v) for v in loss.parts.values()), rel=1e-5)
    assert float(loss.parts["alpha"]) == pytest.approx(LossWeights().alpha * 0.5)
    assert float(loss.parts["l1"]) == pytest.approx(LossWeights().l1 * float((a - b).abs().mean()), rel=1e-5)
    bare = picture_loss(a, mask, b, mask, lips, eyes, LossWeights(ssim=0, lips=0, eyes=0, alpha=0, offsets=0))
    assert set(bare.parts) == {"l1"}


def test_the_losses_of_shares_add_up_to_that_of_the_batch() -> None:
    """Boxes of different sizes, mouths open and shut: each worker's part, divided by what the whole batch holds."""
    generator = torch.Generator().manual_seed(4)
    a, b = torch.rand(2, 4, 24, 30, 3, generator=generator)
    alpha, mask = torch.rand(2, 4, 24, 30, generator=generator)
    lips = torch.tensor([[4.0, 5, 9, 8], [0, 0, 0, 0], [2, 2, 20, 20], [5, 5, 7, 6]])
    eyes = torch.stack([lips + 1, lips + 3], 1)
    teeth = (torch.rand(4, 24, 30, generator=generator) > 0.9).float() * torch.tensor([1.0, 0, 0, 3])[:, None, None]
    batch, weights = (a, b, alpha, mask, lips, eyes), LossWeights()

    def loss(part: slice, areas: torch.Tensor | None) -> torch.Tensor:
        predicted, truth, covered, person, mouth, lids = (value[part] for value in batch)
        found = picture_loss(predicted, covered, truth, person, mouth, lids, weights, teeth=teeth[part], areas=areas)
        return found.total

    whole, areas = loss(slice(4), None), areas_of(lips, eyes, teeth, mask)
    shared = sum(loss(slice(i, j), areas * (j - i) / 4) * (j - i) / 4 for i, j in ((0, 1), (1, 4)))
    torch.testing.assert_close(shared, whole)
    alone = sum(loss(slice(i, j), None) * (j - i) / 4 for i, j in ((0, 1), (1, 4)))
    assert abs(float(alone - whole)) > 1e-4  # what a mean over each share would have been


def test_a_wrong_lip_pixel_costs_more_than_a_wrong_cheek_pixel() -> None:
    truth = torch.zeros(1, 64, 64, 3)
    mask, lips = torch.ones(1, 64, 64), torch.tensor([[20.0, 40, 30, 45]])
    eyes = torch.tensor([[[10.0, 10, 14, 13], [30, 10, 34, 13]]])

    def cost(row: int, column: int) -> float:
        drawn = truth.clone()
        drawn[0, row, column] = 0.3
        return float(picture_loss(drawn, mask, truth, mask, lips, eyes, LossWeights(ssim=0)).total)

    assert cost(42, 25) > 5 * cost(30, 50)


def test_perceptual_reads_weights_and_refuses_others(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    shapes = {0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256)}
    state = {f"features.{n}.weight": torch.randn(*s, 3, 3) * 0.05 for n, s in shapes.items()}
    state |= {f"features.{n}.bias": torch.zeros(s[0]) for n, s in shapes.items()}
    save_file(state, tmp_path / "vgg.safetensors")
    distance = Perceptual(tmp_path)  # a folder will do
    a, b = pictures()
    assert float(distance(a, a)) == 0
    assert float(distance(a, b)) > 0
    del state["features.7.bias"]
    save_file(state, tmp_path / "vgg.safetensors")
    with pytest.raises(FormatError, match=r"features\.7\.bias"):
        Perceptual(tmp_path / "vgg.safetensors")
    (tmp_path / "vgg.pt").write_bytes(b"nothing")
    with pytest.raises(FormatError, match="not a weights file"):
        Perceptual(tmp_path / "vgg.pt")
