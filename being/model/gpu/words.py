"""What a frame hands to the GPU, as one run of numbers: whose it is, its camera, its poses, its conditions.

As float32, but for the first eight: four int64 numbers (steps to the avatar's weights and to its Gaussians, their
count, how many are held).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from being.model.gpu.packing import NetworkShape, padded
from being.model.network import EYE_CODE

Floats = npt.NDArray[np.float32]

AVATAR, CAMERA, HEAD, TORSO, EYE, EMOTION = 0, 8, 32, 44, 64, 96  # where each begins
CAMERA_NUMBERS = 6

# As `position_code` rounds them: the fastest waves multiply the closure by thousands.
_WAVES = torch.pow(10000.0, 2 * torch.arange(EYE_CODE // 2, dtype=torch.float32) / EYE_CODE).numpy()


def context_place(shape: NetworkShape) -> int:
    """Where the audio context begins."""
    return EMOTION + padded(shape.emotions)


def word_count(shape: NetworkShape) -> int:
    """Numbers of a frame."""
    return padded(context_place(shape) + shape.windows * 16 * shape.audio_width)


class FrameWords:
    """The words of B frames in host memory, by column; all are to be written, but emotions start neutral.

    Parameters
    ----------
    words : (B, `word_count`) float32.

    Attributes
    ----------
    avatars : (B, 4) int64. cameras : (B, 6), as `draw_splats` takes them. head_poses, torso_poses : (B, 12).
    emotions : (B, E). contexts : (B, windows, 16, D).
    """

    def __init__(self, shape: NetworkShape, words: Floats) -> None:
        start = context_place(shape)
        contexts = words[:, start : start + shape.windows * 16 * shape.audio_width]
        self.avatars = words[:, AVATAR:CAMERA].view(np.int64)
        self.cameras = words[:, CAMERA : CAMERA + CAMERA_NUMBERS]
        self.head_poses = words[:, HEAD : HEAD + 12]
        self.torso_poses = words[:, TORSO : TORSO + 12]
        self.emotions = words[:, EMOTION : EMOTION + shape.emotions]
        self.contexts = _split(contexts, (shape.windows, 16, shape.audio_width))
        self._eyes = words[:, EYE : EYE + EYE_CODE]
        self.emotions[:] = 0

    def set_eyes(self, closures: Floats) -> None:
        """Closures (B,) as sines and cosines by turns, as `position_code` has them."""
        angle = closures[:, None] * _WAVES
        np.sin(angle, out=self._eyes[:, 0::2])
        np.cos(angle, out=self._eyes[:, 1::2])


def _split(columns: Floats, size: tuple[int, ...]) -> Floats:
    """(B, n) as (B, *size), the same memory."""
    split = columns.reshape(len(columns), *size)
    assert np.may_share_memory(split, columns)
    return split
