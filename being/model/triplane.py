"""Where a Gaussian is, as features: products of bilinear samples from three planes (xy, xz, yz) at each level."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PLANE_AXES = ((0, 1), (0, 2), (1, 2))  # (column axis, row axis) of the planes xy, xz, yz


class Triplane(nn.Module):
    """Features of canonical positions; they do not depend on the frame, so inference computes them once.

    Cost per Gaussian and level: 3 planes x 4 taps x C loads, about 12 C float32 gathers (3 KB at two levels of
    32 channels); the planes themselves take 3 C R^2 floats a level (7.9 MB at R = 64 and 128).

    Parameters
    ----------
    resolutions : plane side R in texels for each level.
    channels : C, channels of every plane.
    aabb : (3,) maximum corner then (3,) minimum corner in head space; row 0 maps to -1 and row 1 to +1, as
        published checkpoints have it.
    """

    aabb: Tensor

    def __init__(
        self,
        resolutions: tuple[int, ...],
        channels: int,
        aabb: tuple[tuple[float, float, float], tuple[float, float, float]],
    ) -> None:
        super().__init__()
        self.register_buffer("aabb", torch.tensor(aabb, dtype=torch.float32))
        # A product of three factors: starting near one keeps each factor's gradient alive.
        self.levels = nn.ModuleList(
            nn.ParameterList(nn.Parameter(torch.empty(1, channels, size, size).uniform_(0.1, 0.5)) for _ in PLANE_AXES)
            for size in resolutions
        )

    def forward(self, xyz: Tensor) -> Tensor:
        """(N, 3) positions -> (N, levels * channels); positions outside the box take its border's value."""
        near, far = self.aabb.unbind(0)
        points = (xyz - near) / (far - near) * 2 - 1
        places = points.unbind(1)  # not indexed by a list, which would be copied to a GPU each time
        grids = [torch.stack([places[axis] for axis in axes], 1).reshape(1, -1, 1, 2) for axes in PLANE_AXES]
        features = []
        for planes in self.levels:
            assert isinstance(planes, nn.ParameterList)
            product: Tensor | None = None
            for plane, grid in zip(planes, grids, strict=True):
                sample = F.grid_sample(plane, grid.to(plane.dtype), padding_mode="border", align_corners=True)
                product = sample if product is None else product * sample
            assert product is not None
            features.append(product[0, :, :, 0].T)  # (1, C, N, 1) -> (N, C)
        return torch.cat(features, dim=1)


ATTRIBUTE_SIZES = {"log_scales": 3, "quats": 4, "opacity_logits": 1, "sh": 48}


class AttributeTrunk(nn.Module):
    """Static attributes read off the features: what the coarse stage of training fits before anything moves.

    Cost per Gaussian: 64x128 + 5 x 128x128 + 128x56 = 97k multiply-adds, once in training steps of the coarse
    stage and never while rendering.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden))
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, size))
                for name, size in ATTRIBUTE_SIZES.items()
            }
        )

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """(N, width) -> log_scales (N, 3), quats (N, 4), opacity_logits (N, 1), sh (N, 48)."""
        hidden = self.features(features)
        return {name: head(hidden) for name, head in self.heads.items()}
