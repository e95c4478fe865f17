"""The GPU's kernels against their plain twin; without a GPU they run in Triton's interpreter."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton", reason="Triton is not installed (it comes with PyTorch's CUDA builds)")

import numpy as np

from being.model import Conditions, DeformationNetwork, Gaussians, NetworkConfig, assemble, camera_code
from being.model.fold import pose_words
from being.model.gaussians import SH_COEFFICIENTS
from being.model.gpu.conditioning import POSES, SCRATCH, fold_conditions, folded_size
from being.model.gpu.deformation import SplatRows, deform
from being.model.gpu.packing import COLUMNS, NetworkShape, PackedAvatar, fits
from being.model.gpu.words import FrameWords, word_count
from being.raster.contract import MAX_ALPHA

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CLOSE = 5e-3 if DEVICE.type == "cuda" else 1e-4  # tf32 rounds to 11 bits
ANCHOR = torch.zeros(16, device=DEVICE)

Person = tuple[Gaussians, DeformationNetwork]


def person(count: int, seed: int, **other: object) -> Person:
    torch.manual_seed(seed)
    gaussians = Gaussians(
        xyz=torch.rand(count, 3) * 2 - 1, log_scales=torch.rand(count, 3) - 4, quats=torch.randn(count, 4),
        opacity_logits=torch.randn(count) * 3, sh=0.3 * torch.randn(count, SH_COEFFICIENTS, 3),
        head_weight=torch.rand(count), audio_gate=torch.rand(count).round(),
    )  # fmt: skip
    network = DeformationNetwork(NetworkConfig(audio_width=6, **other))  # type: ignore[arg-type]
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


def conditions_of(network: DeformationNetwork, head: torch.Tensor, loud: float = 1.0) -> Conditions:
    config, frames = network.config, len(head)
    audio = loud * torch.rand(frames, config.audio_frames, 16, config.audio_width, device=DEVICE)
    emotion = torch.rand(frames, len(config.emotion_states), device=DEVICE) if config.emotion_states else None
    return Conditions(audio, torch.rand(frames, 1, device=DEVICE), camera_code(head), emotion)


def words_of(avatar: PackedAvatar, conditions: Conditions, head: torch.Tensor, torso: torch.Tensor) -> torch.Tensor:
    words = np.full((len(head), word_count(avatar.shape)), np.nan, np.float32)
    columns = FrameWords(avatar.shape, words)
    columns.avatars[:] = (*avatar.steps_from(ANCHOR), avatar.count, avatar.held // 16)
    columns.head_poses[:] = head.flatten(1).cpu().numpy()
    columns.torso_poses[:] = torso.flatten(1).cpu().numpy()
    columns.contexts[:] = conditions.audio.cpu().numpy()
    columns.set_eyes(conditions.eye.flatten().cpu().numpy())
    if conditions.emotion is not None:
        columns.emotions[:] = conditions.emotion.cpu().numpy()
    return torch.from_numpy(words).to(DEVICE)


def folded_of(words: torch.Tensor, shape: NetworkShape) -> torch.Tensor:
    folded = torch.zeros(len(words), folded_size(shape), device=DEVICE)
    fold_conditions(words, ANCHOR, shape, folded, torch.full((len(words), SCRATCH), float("nan"), device=DEVICE))
    return folded


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"emotion_states": ("glad", "sad"), "audio_frames": 5},
        {"tokens": ("null", "camera", "audio"), "heads": 4},
        {"token_support": True},
    ],
    ids=["published", "emotions", "other tokens", "token support"],
)
@torch.no_grad()
def test_folded_conditions_are_the_twin_s(other: dict[str, object]) -> None:
    gaussians, network = person(20, 3, **other)
    config = network.config
    head, torso = poses(6)
    if config.token_support:
        network.record(network.condition_tokens(conditions_of(network, poses(40)[0])))
    conditions = conditions_of(network, head, loud=30.0 if config.token_support else 1.0)
    tokens = network.condition_tokens(conditions)
    layer = network.layers[0].fold(tokens)
    pairs = config.heads * len(config.tokens)

    avatar = PackedAvatar(network, gaussians)
    folded = folded_of(words_of(avatar, conditions, head, torso), avatar.shape)
    own_poses, bias, vectors = folded.split([POSES, COLUMNS, 2 * COLUMNS * config.width], dim=1)
    scores, outputs = vectors.chunk(2, dim=1)
    scores, outputs = scores.unflatten(1, (config.width, COLUMNS)), outputs.unflatten(1, (COLUMNS, config.width))

    wanted_poses = torch.from_numpy(pose_words(head.cpu().numpy(), torso.cpu().numpy()))
    flip = torch.ones(6, POSES)
    turned = (wanted_poses[:, 24:28] * own_poses[:, 24:28].cpu()).sum(1) < 0  # q and -q turn alike, both of them
    flip[turned, 24:] = -1
    torch.testing.assert_close(own_poses.cpu() * flip, wanted_poses, rtol=1e-4, atol=1e-5)
    close = {"rtol": 1e-3, "atol": 1e-4}
    torch.testing.assert_close(bias[:, :pairs], layer.score_bias.flatten(1), **close)
    torch.testing.assert_close(scores[..., :pairs], layer.scores.flatten(2), **close)
    torch.testing.assert_close(outputs[:, :pairs], layer.outputs.flatten(1, 2), **close)
    assert not scores[..., pairs:].any() and not outputs[:, pairs:].any()


@torch.no_grad()
def test_splats_of_two_avatars_are_the_twin_s() -> None:
    """In one launch; no whole number of blocks, and of different lengths."""
    rows = SplatRows(5, 203 + 5, DEVICE)
    rows.opacities.fill_(0.5)  # left from an earlier frame
    words, wanted, avatars = [], [], []
    for (gaussians, network), frames in ((person(203, 0), 3), (person(60, 1), 2)):
        head, torso = poses(frames)
        conditions = conditions_of(network, head)
        tokens = network.condition_tokens(conditions)
        offsets = network.offsets(network.canonical_features(gaussians.xyz), tokens, gaussians.audio_gate)
        wanted.append((gaussians.count, frames, assemble(gaussians, offsets, head, torso)))
        avatars.append(PackedAvatar(network, gaussians))
        words.append(words_of(avatars[-1], conditions, head, torso))
    shape = avatars[0].shape
    together = torch.cat(words)
    deform(together, ANCHOR, shape, folded_of(together, shape), rows)

    first = 0
    for count, frames, splats in wanted:
        own = slice(first, first + frames)

        def told(part: torch.Tensor, own: slice = own, count: int = count) -> torch.Tensor:
            return part[own, :count].flatten(0, 1)

        close = {"rtol": CLOSE, "atol": CLOSE}
        torch.testing.assert_close(told(rows.means), splats.means, **close)
        torch.testing.assert_close(told(rows.scales), splats.scales, **close)
        torch.testing.assert_close(told(rows.colors), splats.colors, **close)
        torch.testing.assert_close(told(rows.opacities), splats.opacities.clamp(max=MAX_ALPHA), **close)
        alike = (told(rows.quats) * splats.quats).sum(-1).abs()  # q and -q turn alike
        torch.testing.assert_close(alike, torch.ones_like(alike), rtol=0, atol=CLOSE)
        assert not rows.opacities[own, count:].any(), "room that is not filled is drawn"
        first += frames


@torch.no_grad()
def test_a_gaussian_of_bad_numbers_is_not_drawn() -> None:
    gaussians, network = person(70, 0)
    gaussians.xyz[3, 1] = float("nan")
    gaussians.log_scales[64, 2] = float("inf")
    head, torso = poses(1)
    avatar = PackedAvatar(network, gaussians)
    words = words_of(avatar, conditions_of(network, head), head, torso)
    rows = SplatRows(1, 70, DEVICE)
    deform(words, ANCHOR, avatar.shape, folded_of(words, avatar.shape), rows)
    faint = (rows.opacities[0, :70] == 0).nonzero().flatten().tolist()
    assert faint == [3, 64]


def test_other_shapes_are_known_beforehand() -> None:
    assert fits(NetworkConfig(audio_width=6))
    assert not fits(NetworkConfig(audio_width=6, layers=2))
    assert not fits(NetworkConfig(audio_width=6, width=48, plane_channels=24))
    assert not fits(NetworkConfig(audio_width=6, heads=4))
    assert not fits(NetworkConfig(audio_width=6, audio_frames=17))
    assert fits(NetworkConfig(audio_width=6, audio_frames=16))
