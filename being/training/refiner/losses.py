"""What a refined picture costs.

    loss = l1 |r - t| + ssim (1 - SSIM(r, t)) + bands sum_k |E_k(r) - E_k(t)| + adversarial -D(r)
           + features |F_D(r) - F_D(t)| + perceptual LPIPS(r, t) + steady |(r' - r) - (t' - t)|
           + lock |coarse(r) - coarse(p)|

`r` is the refined crop, `t` the film's, `p` the render, r', t' the frame after. E_k is the local strength of a band of
the Laplacian pyramid (Burt and Adelson 1983), sqrt(blur(band^2)): how much detail there is around a pixel, wherever
exactly it lies. D is a discriminator of patches (Isola et al. 2017) told the render, trained by the hinge loss, F_D its
features (Wang et al. 2018). The perceptual part needs VGG-16 weights, which are the user's. The lock
keeps coarse shapes, and with them the lips, where the render has them: means over 4 pixels.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from being.training.loss.losses import ssim_map
from being.training.loss.perceptual import Perceptual
from being.training.refiner.config import RefineWeights
from being.training.refiner.pairs import Crops

BANDS = 3
BLUR = 7  # pixels around which a band's strength is taken
LOCK = 4  # pixels
SMALLEST = 1e-4  # keeps the gradient of the square root finite; strengths are about 0.02


class Discriminator(nn.Module):
    """Patches of 24 pixels of a picture beside its render: film or not.

    The first stage keeps the resolution: a stride of 2 there would not see, and so leave, patterns of 2 pixels.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width)
        first = spectral_norm(nn.Conv2d(6, width, 3, padding=1))
        further = [
            spectral_norm(nn.Conv2d(inside, outside, 4, stride=2, padding=1)) for inside, outside in pairwise(widths)
        ]
        self.stages = nn.ModuleList([first, *further])
        self.answer = spectral_norm(nn.Conv2d(widths[-1], 1, 3, padding=1))

    def forward(self, render: Tensor, picture: Tensor) -> tuple[Tensor, list[Tensor]]:
        """(N, 3, K, K) twice in [0, 1] -> answers (N, 1, K/4, K/4) and the features behind them."""
        x = 2 * torch.cat([picture, picture - render], 1) - 1
        features = []
        for stage in self.stages:
            x = F.leaky_relu(stage(x), 0.2)
            features.append(x)
        return self.answer(x), features


def bands(picture: Tensor) -> list[Tensor]:
    """The finest bands of the Laplacian pyramid of (N, C, K, K)."""
    found = []
    for _ in range(BANDS):
        smaller = F.avg_pool2d(picture, 2)
        found.append(picture - F.interpolate(smaller, scale_factor=2.0, mode="bilinear"))
        picture = smaller
    return found


def band_strengths(picture: Tensor) -> list[Tensor]:
    """How strong each band is around each pixel."""
    return [
        (F.avg_pool2d(band.square(), BLUR, stride=1, padding=BLUR // 2) + SMALLEST**2).sqrt() for band in bands(picture)
    ]


def refiner_loss(
    refined: Tensor,
    crops: Crops,
    weights: RefineWeights,
    discriminator: Discriminator | None,
    perceptual: Perceptual | None,
) -> dict[str, Tensor]:
    """The weighted parts by name; `refined` (2 B, 3, K, K) belongs to `crops`. Without a discriminator or VGG weights
    their parts are left out."""
    truth = crops.truth
    parts = {"l1": weights.l1 * (refined - truth).abs().mean()}
    if weights.ssim:
        with torch.autocast(refined.device.type, enabled=False):  # it subtracts nearly equal numbers
            similar = ssim_map(refined.permute(0, 2, 3, 1), truth.permute(0, 2, 3, 1))
        parts["ssim"] = weights.ssim * (1 - similar.mean())
    if weights.bands:
        pairs = zip(band_strengths(refined), band_strengths(truth), strict=True)
        parts["bands"] = weights.bands * torch.stack([(a - b).abs().mean() for a, b in pairs]).sum()
    if discriminator is not None and (weights.adversarial or weights.features):
        answer, own = discriminator(crops.render, refined)
        parts["adversarial"] = -weights.adversarial * answer.mean()
        if weights.features:
            with torch.no_grad():
                _, real = discriminator(crops.render, truth)
            parts["features"] = (
                weights.features * torch.stack([(a - b).abs().mean() for a, b in zip(own, real, strict=True)]).mean()
            )
    if weights.perceptual and perceptual is not None:
        both = refined.permute(0, 2, 3, 1), truth.permute(0, 2, 3, 1)
        parts["perceptual"] = weights.perceptual * perceptual.normalized_distance(*both).mean()
    if weights.lock:
        parts["lock"] = weights.lock * F.avg_pool2d(refined - crops.render, LOCK).abs().mean()
    if weights.steady:
        (first, second), (filmed, after) = refined.chunk(2), truth.chunk(2)
        unsteady = ((second - first) - (after - filmed)).abs().mean((1, 2, 3))
        parts["steady"] = weights.steady * (unsteady * crops.follows).sum() / crops.follows.sum().clamp(min=1)
    return parts


def discriminator_loss(discriminator: Discriminator, refined: Tensor, crops: Crops) -> Tensor:
    """Hinge loss (Lim and Ye 2017)."""
    real, _ = discriminator(crops.render, crops.truth)
    made, _ = discriminator(crops.render, refined.detach())
    return F.relu(1 - real).mean() + F.relu(1 + made).mean()
