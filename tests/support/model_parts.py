"""Small parts of a model, each made the same every time."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from being.model import Gaussians
from being.model.network import Conditions, DeformationNetwork, NetworkConfig

FRAMES, COUNT = 3, 40


def make_gaussians(count: int = 5) -> Gaussians:
    g = torch.Generator().manual_seed(0)
    return Gaussians(
        xyz=torch.randn(count, 3, generator=g),
        log_scales=torch.randn(count, 3, generator=g) - 3,
        quats=torch.randn(count, 4, generator=g),
        opacity_logits=torch.randn(count, generator=g),
        sh=torch.randn(count, 16, 3, generator=g),
        head_weight=torch.rand(count, generator=g),
        audio_gate=torch.rand(count, generator=g),
    )


def make_network(**sizes: object) -> DeformationNetwork:
    torch.manual_seed(1)
    network = DeformationNetwork(NetworkConfig(audio_width=6, plane_resolutions=(4, 8), **sizes)).eval()  # type: ignore[arg-type]
    for head in network.heads.values():
        torch.nn.init.normal_(head[-1].weight, std=0.1)  # type: ignore[index]
    return network


def conditions(emotions: int | None = None) -> Conditions:
    g = torch.Generator().manual_seed(2)
    audio = torch.randn(FRAMES, 8, 16, 6, generator=g)
    eye, camera = torch.rand(FRAMES, 1, generator=g), torch.randn(FRAMES, 12, generator=g)
    return Conditions(audio, eye, camera, None if emotions is None else torch.rand(FRAMES, emotions, generator=g))


def positions() -> Tensor:
    return torch.randn(COUNT, 3, generator=torch.Generator().manual_seed(3))


def pose(seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    rotation = np.diag([1, -1, -1]) @ Rotation.from_rotvec(0.4 * rng.normal(size=3)).as_matrix()
    translation = np.array([0, 0, 8.0]) + 0.2 * rng.normal(size=3)
    return torch.tensor(np.concatenate([rotation, translation[:, None]], axis=1), dtype=torch.float32)
