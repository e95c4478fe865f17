"""A tiny avatar for tests: random, but valid in every respect."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from being.audio.features import FeatureSpec
from being.avatar.consent import SYNTHETIC
from being.avatar.folder import Avatar
from being.avatar.motion import Motion
from being.avatar.schema import AvatarManifest
from being.model.gaussians import Gaussians
from being.model.network import DeformationNetwork, NetworkConfig

TINY_WIDTH, TINY_HEIGHT = 64, 48


def make_tiny_avatar(avatar_id: str = "tiny", seed: int = 0, count: int = 300, frames: int = 80) -> Avatar:
    """A blob of `count` Gaussians over shoulders, log-mel features, small planes; every seed is another person."""
    generator = torch.Generator().manual_seed(seed)
    random = np.random.default_rng(seed)
    config = NetworkConfig(
        audio_width=32, plane_resolutions=(8, 16), emotion_states=("happy",), aabb=((2, 2, 2), (-2, -2, -2))
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = DeformationNetwork(config).eval().requires_grad_(False)
        for head in network.heads.values():  # a new network is almost at rest; this one has learned something
            torch.nn.init.normal_(head[-1].weight, std=0.01)
        network.record(network.null_token.repeat(4, len(config.tokens), 1) + torch.randn(4, len(config.tokens), 64))
    head_weight = (torch.rand(count, generator=generator) > 0.3).float()
    xyz = torch.randn(count, 3, generator=generator) * 0.4
    xyz[:, 1] -= 1.0 * (1 - head_weight)
    gaussians = Gaussians(
        xyz=xyz,
        log_scales=torch.full((count, 3), -2.2) + 0.2 * torch.randn(count, 3, generator=generator),
        quats=torch.randn(count, 4, generator=generator),
        opacity_logits=torch.randn(count, generator=generator) + 1,
        sh=0.3 * torch.randn(count, 16, 3, generator=generator),
        head_weight=head_weight,
        audio_gate=head_weight * torch.rand(count, generator=generator),
    )
    manifest = AvatarManifest(
        id=avatar_id,
        name=f"Tiny {seed}",
        width=TINY_WIDTH,
        height=TINY_HEIGHT,
        focal=120.0,
        cx=TINY_WIDTH / 2,
        cy=TINY_HEIGHT / 2,
        features=FeatureSpec(name="logmel"),
        look_ahead=1,
        network=config,
        gaussians=count,
        metrics={"psnr": 30.0},
        consent=SYNTHETIC,
    )
    background = random.integers(0, 256, (TINY_HEIGHT, TINY_WIDTH, 3), dtype=np.uint8)
    return Avatar(manifest, gaussians, network, make_motion(frames), background)


def make_motion(frames: int) -> Motion:
    """A head that sways, a torso that breathes, a blink every two seconds; talking in the second half."""
    time = np.arange(frames) / 25
    turn = np.stack([0.05 * np.sin(1.3 * time), 0.1 * np.sin(0.7 * time), 0.03 * np.sin(time)], axis=1)
    poses = []
    for share in (1.0, 0.2):
        rotation = np.diag([1.0, -1.0, -1.0]) @ Rotation.from_euler("xyz", share * turn).as_matrix()
        shift = np.stack([0.1 * share * np.sin(time), 0.05 * share * np.sin(0.5 * time), np.full(frames, 8.0)], axis=1)
        poses.append(np.concatenate([rotation, shift[:, :, None]], axis=2).astype(np.float32))
    eye = np.interp(np.arange(frames) % 50, [0, 30, 32, 34, 37, 50], [0, 0, 1, 1, 0, 0]).astype(np.float32)
    return Motion(poses[0], poses[1], eye, np.arange(frames) >= frames // 2)
