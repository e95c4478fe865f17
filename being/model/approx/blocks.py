"""Arrays of Gaussians in blocks of 64 lanes, the layout all CPU twins share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from being.model.approx.kernels import LANES
from being.model.gaussians import Gaussians

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

# Channels of an offset, in this order: xyz 3, log scales 3, quaternion 4, opacity logit 1, SH 16 x 3.
FULL_CHANNELS = 59
LEAN_CHANNELS = 14  # what the cheaper forms have: up to the SH constant, which stands for the rest, see `lean`


def block_count(count: int) -> int:
    """Blocks that hold `count` Gaussians."""
    return -(-count // LANES)


def to_blocks(rows: Floats) -> Floats:
    """(N, C) to (blocks, C, 64), the last block filled up with zeros."""
    count, channels = rows.shape
    padded = np.zeros((block_count(count) * LANES, channels), np.float32)
    padded[:count] = rows
    return np.ascontiguousarray(padded.reshape(-1, LANES, channels).transpose(0, 2, 1))


def from_blocks(blocks: Floats, count: int) -> Floats:
    """(blocks, C, 64) to (count, C)."""
    return np.ascontiguousarray(blocks.transpose(0, 2, 1).reshape(-1, blocks.shape[1])[:count])


def attribute_rows(gaussians: Gaussians) -> Floats:
    """Canonical attributes before activation as (N, 59), channels in the order of the offsets."""
    host = {name: tensor.detach().cpu().numpy() for name, tensor in gaussians.tensors().items()}
    return np.concatenate(
        [
            host["xyz"],
            host["log_scales"],
            host["quats"],
            host["opacity_logits"][:, None],
            host["sh"].reshape(len(host["sh"]), -1),
        ],
        axis=1,
    )
