"""What is folded in numpy against the PyTorch modules that state it."""

from __future__ import annotations

import numpy as np
import torch

from being.model.attention import SpatialAudioAttention
from being.model.deformation import quaternion_from_rotation
from being.model.fold import LayerFold, pose_words


@torch.no_grad()
def test_a_layer_is_folded_with_tokens_as_in_pytorch() -> None:
    torch.manual_seed(0)
    layer = SpatialAudioAttention(32, 2, 64, 0.0)
    tokens = torch.randn(3, 5, 32)
    wanted = layer.fold(tokens)
    scores, bias, outputs = LayerFold(layer)(tokens.numpy())
    np.testing.assert_allclose(scores, wanted.scores.flatten(2), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bias, wanted.score_bias.flatten(1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outputs, wanted.outputs.flatten(1, 2), rtol=1e-4, atol=1e-5)


def test_quaternions_are_those_of_pytorch_also_at_half_turns() -> None:
    torch.manual_seed(1)
    turns = torch.linalg.qr(torch.randn(50, 3, 3))[0]
    turns = turns * torch.linalg.det(turns)[:, None, None]
    half = torch.stack([torch.diag(torch.tensor(axis)) for axis in ([1.0, -1, -1], [-1.0, 1, -1], [-1.0, -1, 1])])
    turns = torch.cat([turns, half, torch.eye(3)[None]])
    poses = torch.cat([turns, torch.randn(len(turns), 3, 1)], 2).numpy()
    words = pose_words(poses, poses[::-1])
    np.testing.assert_array_equal(words[:, :24], np.concatenate([poses, poses[::-1]], 1).reshape(-1, 24))
    assert ((words[:, 24:28] * words[:, 28:]).sum(1) >= 0).all()
    ours, theirs = words[:, 24:28], quaternion_from_rotation(turns).numpy()
    np.testing.assert_allclose(np.abs((ours * theirs).sum(1)), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
