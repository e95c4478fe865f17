"""What a wrong picture costs.

    loss = l1 |p - t| + ssim (1 - SSIM(p, t)) + lips |p - t| over the lip box + eyes |p - t| over the eye boxes
           + teeth |p - t| inside the open mouth + alpha |coverage - matte| + detail |deviation(p) - deviation(t)|
           + perceptual |VGG(p) - VGG(t)|
           + offsets |displacements| + corrections (frames' corrections)^2

`p` is the predicted person over a background, `t` the filmed one over the same: the clean plate, or, where the footage
has mattes, one drawn by lot. Without mattes the mask stands for the matte. The two box terms are means
over their boxes, which cover about a hundredth of the picture: a weight of 0.1 makes a lip pixel count about ten times.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

from being.training.config import LossWeights
from being.training.loss.detail import detail_difference
from being.training.loss.perceptual import Perceptual

SSIM_WINDOW = 11  # pixels
SSIM_SIGMA = 1.5  # pixels
LEAST_MOUTH = 2e-3  # of the picture: a smaller open mouth does not count more a pixel
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # for colours in [0, 1]; Wang et al. 2004


@dataclass(frozen=True)
class Loss:
    """The sum that is minimised and its weighted parts by name (scalars on the device)."""

    total: Tensor
    parts: dict[str, Tensor]

    def with_part(self, name: str, part: Tensor) -> Loss:
        """This and a weighted part more."""
        return Loss(self.total + part, {**self.parts, name: part})


def picture_loss(
    predicted: Tensor,
    alpha: Tensor,
    truth: Tensor,
    mask: Tensor,
    lips: Tensor,
    eyes: Tensor,
    weights: LossWeights,
    displacement: Tensor | None = None,
    perceptual: Perceptual | None = None,
    teeth: Tensor | None = None,
    corrections: Tensor | None = None,
    areas: Tensor | None = None,
    matte: Tensor | None = None,
    faces: tuple[Tensor, int] | None = None,
) -> Loss:
    """The loss of B pictures.

    Parameters
    ----------
    predicted, truth : (B, H, W, 3) in [0, 1]. alpha, mask : (B, H, W) coverage and the person's mask in [0, 1].
    lips : (B, 4) box x0 y0 x1 y1 in pixels. eyes : (B, 2, 4). displacement : network offsets (..., 3) in dm.
    teeth : (B, H, W) how much each pixel of an open mouth counts. corrections : scalar, see `FrameCorrections.cost`.
    areas : what the box terms are divided by, as `areas_of`; None: those of these pictures. matte : (B, H, W) what the
    coverage shall be; None: the mask. faces : (B, 2) corners and the side of the windows of detail and `perceptual`;
    None: at all.
    """
    difference = (predicted - truth).abs().mean(-1)
    parts = {"l1": weights.l1 * difference.mean()}
    if weights.ssim:
        parts["ssim"] = weights.ssim * (1 - mean_ssim(predicted, truth))
    inside = _regions(lips, eyes, teeth, *mask.shape[1:])
    if areas is None:
        areas = _sums(inside, mask)
    for index, (name, region) in enumerate(inside.items()):
        if weight := getattr(weights, name):
            least = LEAST_MOUTH * areas[-1] if name == "teeth" else 1.0
            parts[name] = weight * (difference * region).sum() / areas[index].clamp(min=least)
    if weights.alpha:
        parts["alpha"] = weights.alpha * (alpha - (mask if matte is None else matte)).abs().mean()
    if weights.detail or (weights.perceptual and perceptual is not None):
        seen = (predicted, truth) if faces is None else (cut(predicted, *faces), cut(truth, *faces))
        if weights.detail:
            parts["detail"] = weights.detail * detail_difference(*seen)
        if weights.perceptual and perceptual is not None:
            parts["perceptual"] = weights.perceptual * perceptual(*seen)
    if weights.offsets and displacement is not None:
        parts["offsets"] = weights.offsets * displacement.abs().mean()
    if weights.corrections and corrections is not None:
        parts["corrections"] = weights.corrections * corrections
    return Loss(torch.stack(list(parts.values())).sum(), parts)


def areas_of(lips: Tensor, eyes: Tensor, teeth: Tensor | None, mask: Tensor) -> Tensor:
    """(3 or 4,): pixels inside the lip and the eye boxes, the weight of open mouths, all pixels; of B pictures."""
    return _sums(_regions(lips, eyes, teeth, *mask.shape[1:]), mask)


def _sums(regions: dict[str, Tensor], mask: Tensor) -> Tensor:
    return torch.stack([*(region.sum() for region in regions.values()), mask.new_full((), mask.numel())])


def _regions(lips: Tensor, eyes: Tensor, teeth: Tensor | None, height: int, width: int) -> dict[str, Tensor]:
    found = {"lips": box_mask(lips[:, None], height, width), "eyes": box_mask(eyes, height, width)}
    return found if teeth is None else found | {"teeth": teeth}


def box_mask(boxes: Tensor, height: int, width: int) -> Tensor:
    """1 inside any of the K boxes (B, K, 4) of each picture, 0 outside: (B, H, W)."""
    x = torch.arange(width, device=boxes.device) + 0.5
    y = torch.arange(height, device=boxes.device) + 0.5
    x0, y0, x1, y1 = boxes[..., None].unbind(-2)
    columns = (x >= x0) & (x < x1)
    rows = (y >= y0) & (y < y1)
    return (rows[..., :, None] & columns[..., None, :]).any(1).float()


def cut(pictures: Tensor, corners: Tensor, side: int) -> Tensor:
    """Square windows (B, side, side, 3) of pictures (B, H, W, 3), upper left corners (B, 2) x y in whole pixels."""
    place = _places(pictures, corners, side)
    return pictures.reshape(-1, pictures.shape[-1]).index_select(0, place.flatten()).unflatten(0, place.shape)


def laid_over(pictures: Tensor, windows: Tensor, corners: Tensor) -> Tensor:
    """Pictures (B, H, W, 3) with these windows (B, side, side, 3) where `cut` takes them from."""
    place = _places(pictures, corners, windows.shape[1]).flatten()
    return pictures.flatten(0, 2).index_copy(0, place, windows.flatten(0, 2)).view_as(pictures)


def _places(pictures: Tensor, corners: Tensor, side: int) -> Tensor:
    """(B, side, side) numbers of the windows' pixels among those of all pictures (B, H, W, ...)."""
    line = torch.arange(side, device=pictures.device)
    rows, columns = corners[:, 1, None] + line, corners[:, 0, None] + line
    which = torch.arange(len(pictures), device=pictures.device)
    return (which[:, None, None] * pictures.shape[1] + rows[:, :, None]) * pictures.shape[2] + columns[:, None]


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values (B, H, W) where mask (B, H, W) is 1; 0 where it is empty."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


@lru_cache(maxsize=8)
def _ssim_kernel(device: torch.device, dtype: torch.dtype) -> Tensor:
    offsets = torch.arange(SSIM_WINDOW, dtype=dtype, device=device) - SSIM_WINDOW // 2
    kernel = torch.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    return kernel / kernel.sum()


@lru_cache(maxsize=8)
def _blur_matrix(size: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(size, size) matrix that blurs a column of pixels with the SSIM window."""
    line = torch.arange(size, device=device)
    lag = line[:, None] - line[None] + SSIM_WINDOW // 2
    inside = (lag >= 0) & (lag < SSIM_WINDOW)
    return _ssim_kernel(device, dtype)[lag.clamp(0, SSIM_WINDOW - 1)] * inside


def _blur(stack: Tensor) -> Tensor:
    """Blur pictures (K, H, W) with the SSIM window, zero-padded.

    On a CPU, PyTorch's one-channel convolutions are ten times slower than multiplying by a band matrix; on a GPU the
    convolution wins (and must not run in tf32, which would drown the variance of flat skin).
    """
    height, width = stack.shape[1:]
    if stack.device.type == "cpu":
        rows = _blur_matrix(height, stack.device, stack.dtype)
        return rows @ stack @ _blur_matrix(width, stack.device, stack.dtype).T
    kernel, pad = _ssim_kernel(stack.device, stack.dtype), SSIM_WINDOW // 2
    stack = F.conv2d(stack[:, None], kernel.view(1, 1, 1, -1), padding=(0, pad))
    return F.conv2d(stack, kernel.view(1, 1, -1, 1), padding=(pad, 0))[:, 0]


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of every pixel, averaged over channels: (B, H, W, 3) twice -> (B, H, W).

    Wang et al. 2004 with an 11x11 Gaussian window (sigma 1.5), zero-padded at the rim.
    """
    batch, height, width, channels = a.shape
    x, y = (image.permute(0, 3, 1, 2).reshape(batch * channels, height, width) for image in (a, b))
    mean_x, mean_y, xx, yy, xy = _blur(torch.cat([x, y, x * x, y * y, x * y])).chunk(5)
    var_x, var_y, cov = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    ratio = ((2 * mean_x * mean_y + SSIM_C1) * (2 * cov + SSIM_C2)) / (
        (mean_x**2 + mean_y**2 + SSIM_C1) * (var_x + var_y + SSIM_C2)
    )
    return ratio.reshape(batch, channels, height, width).mean(1)


def mean_ssim(predicted: Tensor, truth: Tensor) -> Tensor:
    """`ssim_map(predicted, truth).mean()`, on a GPU in its own kernels; differentiable in `predicted`."""
    if predicted.device.type == "cuda" and predicted.dtype == torch.float32 and _has_triton():
        from being.training.loss.ssim_gpu import MeanSsim

        return MeanSsim.apply(predicted, truth, _ssim_kernel(predicted.device, predicted.dtype))
    return ssim_map(predicted, truth).mean()


@lru_cache(maxsize=1)
def _has_triton() -> bool:
    return find_spec("triton") is not None


def psnr(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Peak signal-to-noise ratio (B,) in dB of pictures (B, H, W, 3) in [0, 1] over a mask (B, H, W); empty: NaN."""
    squared = ((a - b) ** 2).mean(-1)
    error = (squared * mask).sum((1, 2)) / mask.sum((1, 2))
    return -10 * torch.log10(error.clamp(min=1e-10))
