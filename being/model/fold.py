"""What the frames of a batch hand to a GPU's kernel, computed in numpy beside it: a few matrix products of 64 numbers.

On the GPU they would be fifteen launches that stand before everything else.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

from being.model.attention import ListeningLayer

Floats = npt.NDArray[np.float32]


class LayerFold:
    """`ListeningLayer.fold` in numpy: what the tokens of B frames make of the layer; see `being.model.attention`."""

    def __init__(self, layer: ListeningLayer) -> None:
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


def quaternions(rotation: Floats) -> Floats:
    """(B, 3, 3) rotations to unit quaternions (B, 4), w x y z; as `deform.quaternion_from_rotation`."""
    r = rotation
    rows = np.empty((len(r), 4, 4), np.float32)
    trace = r[:, 0, 0] + r[:, 1, 1] + r[:, 2, 2]
    rows[:, 0, 0] = 1 + trace
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        rows[:, 0, 1 + i] = rows[:, 1 + i, 0] = r[:, k, j] - r[:, j, k]
        rows[:, 1 + i, 1 + i] = 1 - trace + 2 * r[:, i, i]
        rows[:, 1 + i, 1 + j] = rows[:, 1 + j, 1 + i] = r[:, i, j] + r[:, j, i]
    # Row i is the quaternion times 4 of its entry i: the longest is the well-conditioned one.
    best = rows[np.arange(len(r)), np.einsum("bii->bi", rows).argmax(1)]
    return best / np.sqrt((best * best).sum(1, keepdims=True))
