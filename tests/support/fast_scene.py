"""A small network that moves, its Gaussians and recorded tokens, for the tests of the CPU twins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from being.model import Conditions, DeformationNetwork, Gaussians, NetworkConfig, camera_code

COUNT = 333  # no multiple of a block


@dataclass
class Scene:
    network: DeformationNetwork
    gaussians: Gaussians
    held_out: NDArray[np.float32]  # (S, T, width) tokens that were not recorded


def scene(layers: int = 1, **sizes: object) -> Scene:
    """Speech-like tokens that wander slowly; half of the Gaussians hear nothing."""
    g = torch.Generator().manual_seed(7)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        network = DeformationNetwork(
            NetworkConfig(audio_width=6, plane_resolutions=(8, 16), layers=layers, **sizes)  # type: ignore[arg-type]
        ).eval()
        for head in network.heads.values():
            torch.nn.init.normal_(head[-1].weight, std=0.03)  # type: ignore[index]
    gaussians = Gaussians(
        xyz=torch.randn(COUNT, 3, generator=g),
        log_scales=0.3 * torch.randn(COUNT, 3, generator=g) - 2,
        quats=torch.randn(COUNT, 4, generator=g),
        opacity_logits=2 * torch.randn(COUNT, generator=g),
        sh=0.3 * torch.randn(COUNT, 16, 3, generator=g),
        head_weight=torch.rand(COUNT, generator=g),
        audio_gate=torch.rand(COUNT, generator=g) * (torch.rand(COUNT, generator=g) > 0.5),
    )
    frames = 120
    sound = torch.nn.functional.interpolate(torch.randn(1, 6, 30, generator=g), size=2 * frames + 32, mode="linear")[
        0
    ].T
    windows = sound.unfold(0, 16, 2)[: frames + 7].transpose(1, 2)
    audio = windows.unfold(0, 8, 1)[:frames].permute(0, 3, 1, 2) * 3
    pose = torch.cat([torch.diag(torch.tensor([1.0, -1, -1])), torch.tensor([[0.0], [0], [8]])], dim=1)
    with torch.no_grad():
        tokens = network.condition_tokens(
            Conditions(audio, torch.rand(frames, 1, generator=g), camera_code(pose.expand(frames, 3, 4)))
        )
    network.record(tokens[:100])
    return Scene(network, gaussians, tokens[100:].numpy())


def exact_offsets(made: Scene, tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    """(S, N, 59) by the PyTorch network."""
    with torch.no_grad():
        features = made.network.canonical_features(made.gaussians.xyz)
        o = made.network.offsets(features, torch.from_numpy(tokens), made.gaussians.audio_gate)
    parts = [o.xyz, o.log_scales, o.quats, o.opacity_logits[..., None], o.sh.flatten(2)]
    return torch.cat(parts, dim=-1).numpy()
