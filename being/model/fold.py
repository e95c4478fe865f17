"""What a frame hands to the kernels that deform and pose, in numpy: a few matrix products of 64 numbers, 32 of a pose.

On a GPU they would be fifteen launches that stand before everything else.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation
from torch import Tensor

from being.model.attention import SpatialAudioAttention

Floats = npt.NDArray[np.float32]


class LayerFold:
    """`SpatialAudioAttention.fold` in numpy, with the tokens of B frames folded in; see `being.model.attention`."""

    def __init__(self, layer: SpatialAudioAttention) -> None:
        width, heads = layer.query.in_features, layer.heads
        depth = width // heads

        def array(tensor: Tensor) -> Floats:
            return tensor.detach().float().cpu().numpy()

        self._heads, self._depth, self._width = heads, depth, width
        root = np.float32(np.sqrt(depth))
        self._key = array(layer.key.weight).T / root, array(layer.key.bias) / root
        self._value = array(layer.value.weight).T, array(layer.value.bias)
        self._query = array(layer.query.weight).reshape(heads, depth, width), array(layer.query.bias)
        self._output = np.ascontiguousarray(array(layer.output.weight).reshape(width, heads, depth).transpose(1, 2, 0))

    def __call__(self, tokens: Floats) -> tuple[Floats, Floats, Floats]:
        """(B, T, D) -> score vectors (B, D, H T), their bias (B, H T), output vectors (B, H T, D)."""
        frames, count, _ = tokens.shape
        split = (frames * count, self._heads, self._depth)
        keys = (tokens.reshape(-1, self._width) @ self._key[0] + self._key[1]).reshape(split)
        values = (tokens.reshape(-1, self._width) @ self._value[0] + self._value[1]).reshape(split)
        bias = (keys * self._query[1].reshape(self._heads, self._depth)).sum(-1)  # (B T, H)
        by_head = keys.transpose(1, 0, 2) @ self._query[0]  # (H, B T, D)
        outputs = values.transpose(1, 0, 2) @ self._output

        def rows(array: Floats) -> Floats:  # (H, B T, ...) -> (B, H T, ...)
            turned = array.reshape(self._heads, frames, count, -1).transpose(1, 0, 2, 3)
            return turned.reshape(frames, self._heads * count, -1)

        return rows(by_head).transpose(0, 2, 1), rows(bias.T[..., None])[..., 0], rows(outputs)


def pose_words(head_pose: Floats, torso_pose: Floats) -> Floats:
    """(B, 3, 4) twice to (B, 32): head pose, torso pose, their quaternions w x y z, the torso's on the head's side."""
    quats = []
    for pose in (head_pose, torso_pose):
        turns = Rotation.from_matrix(np.asarray(pose, np.float32)[:, :, :3])
        quats.append(np.roll(turns.as_quat(), 1, axis=1))  # x y z w to w x y z
    head, torso = quats
    torso = np.where((head * torso).sum(1, keepdims=True) < 0, -torso, torso)  # q and -q turn alike: the short way
    parts = (np.reshape(head_pose, (-1, 12)), np.reshape(torso_pose, (-1, 12)), head, torso)
    return np.concatenate(parts, axis=1).astype(np.float32)
