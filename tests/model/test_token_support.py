"""A sound that the footage does not hold moves the face no further than the footage's sounds do."""

from __future__ import annotations

import numpy as np
import torch

from being.inference.frames import Drive
from being.inference.tokens import TokenEncoder
from being.model import Conditions, DeformationNetwork, NetworkConfig, camera_code
from being.model.token_support import clamp_to_support, clamp_to_support_numpy, support_radius

RECORDED = np.random.default_rng(0).normal(size=(60, 64)).astype(np.float32)


def test_heard_tokens_stay_as_they_are_and_far_ones_come_back() -> None:
    reach = support_radius(RECORDED)
    apart = np.linalg.norm(RECORDED[:, None] - RECORDED[None], axis=-1) + 1e9 * np.eye(60)
    assert np.isclose(reach, 2 * np.percentile(apart.min(1), 90), rtol=1e-3)
    far = RECORDED[:5] * 30
    tokens = np.concatenate([RECORDED, RECORDED + 0.01, far])
    kept = clamp_to_support(torch.from_numpy(tokens), torch.from_numpy(RECORDED), reach).numpy()
    assert (kept[:120] == tokens[:120]).all()
    distance = np.linalg.norm(kept[120:, None] - RECORDED[None], axis=-1).min(1)
    assert (distance < 1.5 * reach).all()
    np.testing.assert_allclose(clamp_to_support_numpy(tokens, RECORDED, reach), kept, rtol=1e-3, atol=1e-3)


def test_the_way_back_has_no_jumps() -> None:
    reach = support_radius(RECORDED)
    way = np.linspace(0, 40, 4001, dtype=np.float32)[:, None] * RECORDED[:1]
    kept = clamp_to_support_numpy(way, RECORDED, reach)
    steps = np.linalg.norm(np.diff(kept, axis=0), axis=1)
    assert steps.max() < 5 * np.linalg.norm(np.diff(way, axis=0), axis=1).max()


def test_too_little_recorded_says_nothing() -> None:
    assert support_radius(RECORDED[:2]) == float("inf") and support_radius(np.repeat(RECORDED[:1], 9, 0)) == float(
        "inf"
    )
    np.testing.assert_array_equal(clamp_to_support_numpy(RECORDED, RECORDED[:2], float("inf")), RECORDED)


@torch.no_grad()
def test_a_recorded_network_keeps_its_audio_tokens_both_ways() -> None:
    torch.manual_seed(0)
    network = DeformationNetwork(NetworkConfig(audio_width=6, token_support=True)).eval()
    pose = torch.eye(3, 4)[None].expand(40, 3, 4)
    near = Conditions(torch.rand(40, 8, 16, 6), torch.zeros(40, 1), camera_code(pose))
    loud = Conditions(near.audio[:4] * 200, near.eye[:4], near.camera[:4])
    free = network.condition_tokens(loud)
    heard = network.condition_tokens(near)
    network.record(heard)
    torch.testing.assert_close(network.condition_tokens(near), heard, rtol=0, atol=0)
    kept = network.condition_tokens(loud)
    place = network.config.tokens.index("audio")
    assert (kept[:, place] - heard[:, place].mean(0)).norm(dim=1).max() < 0.2 * (
        free[:, place] - heard[:, place].mean(0)
    ).norm(dim=1).min()
    drives = [Drive("a", audio, 0.0, pose[0].numpy(), pose[0].numpy()) for audio in loud.audio.numpy()]
    np.testing.assert_allclose(TokenEncoder(network)(drives), kept.numpy(), rtol=1e-3, atol=1e-3)

    published = DeformationNetwork(NetworkConfig(audio_width=6)).eval()
    published.record(heard)
    published.load_state_dict(network.state_dict())
    torch.testing.assert_close(published.condition_tokens(loud), free, rtol=0, atol=0)
    np.testing.assert_allclose(TokenEncoder(published)(drives), free.numpy(), rtol=1e-3, atol=1e-2)
