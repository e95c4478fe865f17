"""The GPU's kernel against its plain twin; without a GPU it runs in Triton's interpreter."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton", reason="Triton is not installed (it comes with PyTorch's CUDA builds)")

import numpy as np

from being.model import Conditions, DeformationNetwork, Gaussians, NetworkConfig, assemble, camera_code
from being.model.gaussians import SH_COEFFICIENTS
from being.model.gpu.deformation import SplatRows, Splatter, fits
from being.raster.contract import MAX_ALPHA

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CLOSE = 5e-3 if DEVICE.type == "cuda" else 1e-4  # tf32 rounds to 11 bits


def person(count: int, seed: int) -> tuple[Gaussians, DeformationNetwork]:
    torch.manual_seed(seed)
    gaussians = Gaussians(
        xyz=torch.rand(count, 3) * 2 - 1, log_scales=torch.rand(count, 3) - 4, quats=torch.randn(count, 4),
        opacity_logits=torch.randn(count) * 3, sh=0.3 * torch.randn(count, SH_COEFFICIENTS, 3),
        head_weight=torch.rand(count), audio_gate=torch.rand(count).round(),
    )  # fmt: skip
    network = DeformationNetwork(NetworkConfig(audio_width=6, emotion_states=("glad", "sad") if seed else ()))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return gaussians.to(DEVICE), network.to(DEVICE).eval()


def poses(frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    turn = torch.linalg.qr(torch.randn(2, frames, 3, 3))[0]
    turn = turn * torch.linalg.det(turn)[..., None, None]
    shift = torch.tensor([0.0, 0.0, 5.0]) + 0.3 * torch.randn(2, frames, 3)
    both = torch.cat([turn, shift[..., None]], -1).to(DEVICE)
    return both[0], both[1]


@pytest.mark.parametrize("seed", [0, 1])
@torch.no_grad()
def test_splats_are_the_twin_s(seed: int) -> None:
    frames, count = 3, 203  # no whole number of blocks
    gaussians, network = person(count, seed)
    head, torso = poses(frames)
    emotion = torch.rand(frames, 2, device=DEVICE) if seed else None
    conditions = Conditions(
        torch.rand(frames, 8, 16, 6, device=DEVICE), torch.rand(frames, 1, device=DEVICE), camera_code(head), emotion
    )
    tokens = network.condition_tokens(conditions)
    wanted = assemble(
        gaussians, network.offsets(network.canonical_features(gaussians.xyz), tokens, gaussians.audio_gate), head, torso
    )

    splatter = Splatter(network, gaussians)
    packed = np.empty((frames, splatter.frame_size), np.float32)
    splatter.frames(tokens.cpu().numpy(), head.cpu().numpy(), torso.cpu().numpy(), packed)
    rows = SplatRows(frames + 1, count + 5, DEVICE)
    splatter(torch.from_numpy(packed).to(DEVICE), rows, 1)

    def told(part: torch.Tensor) -> torch.Tensor:
        assert not part[0].any() and not part[1:, count:].any(), "wrote where it has no business"
        return part[1:, :count].flatten(0, 1)

    torch.testing.assert_close(told(rows.means), wanted.means, rtol=CLOSE, atol=CLOSE)
    torch.testing.assert_close(told(rows.scales), wanted.scales, rtol=CLOSE, atol=CLOSE)
    torch.testing.assert_close(told(rows.colors), wanted.colors, rtol=CLOSE, atol=CLOSE)
    torch.testing.assert_close(told(rows.opacities), wanted.opacities.clamp(max=MAX_ALPHA), rtol=CLOSE, atol=CLOSE)
    alike = (told(rows.quats) * wanted.quats).sum(-1).abs()  # q and -q turn alike
    torch.testing.assert_close(alike, torch.ones_like(alike), rtol=0, atol=CLOSE)


@torch.no_grad()
def test_a_gaussian_of_bad_numbers_is_not_drawn() -> None:
    gaussians, network = person(70, 0)
    gaussians.xyz[3, 1] = float("nan")
    gaussians.log_scales[64, 2] = float("inf")
    head, torso = poses(1)
    splatter = Splatter(network, gaussians)
    packed = np.empty((1, splatter.frame_size), np.float32)
    tokens = torch.randn(1, len(network.config.tokens), network.config.width)
    splatter.frames(tokens.numpy(), head.cpu().numpy(), torso.cpu().numpy(), packed)
    rows = SplatRows(1, 70, DEVICE)
    splatter(torch.from_numpy(packed).to(DEVICE), rows, 0)
    faint = (rows.opacities[0, :70] == 0).nonzero().flatten().tolist()
    assert faint == [3, 64]


def test_other_shapes_are_known_beforehand() -> None:
    assert fits(NetworkConfig(audio_width=6))
    assert not fits(NetworkConfig(audio_width=6, layers=2))
    assert not fits(NetworkConfig(audio_width=6, width=48, plane_channels=24))
    assert not fits(NetworkConfig(audio_width=6, heads=4))
