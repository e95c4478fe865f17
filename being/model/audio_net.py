"""What is being said, as one vector: eight windows of speech features, each encoded, then weighed together."""

from __future__ import annotations

import torch
from torch import Tensor, nn

AUDIO_CODE = 32  # width of an encoded window
_SLOPE = 0.02  # of every LeakyReLU here


def convolutions(module: nn.Module) -> list[nn.Conv1d]:
    """Those directly inside a module, first to last."""
    return [layer for layer in module.children() if isinstance(layer, nn.Conv1d)]


class AudioNet(nn.Module):
    """Encodes one window of 16 feature steps (0.32 s at 50 Hz) into 32 numbers.

    Four strided convolutions halve 16 steps to one. 21k multiply-adds a window at width 32: nothing beside the
    Gaussians, so no fast twin is needed.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for into, out in ((width, 32), (32, 32), (32, 64), (64, 64)):
            layers += [nn.Conv1d(into, out, 3, stride=2, padding=1), nn.LeakyReLU(_SLOPE)]
        self.convolutions = nn.Sequential(*layers)
        self.code = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(_SLOPE), nn.Linear(64, AUDIO_CODE))

    def forward(self, windows: Tensor) -> Tensor:
        """(M, 16, width) windows, time before features as Being stores them -> (M, 32)."""
        return self.code(self.convolutions(windows.transpose(1, 2)).squeeze(-1))


class AudioAttention(nn.Module):
    """Weighs the windows of neighbouring frames into one code, so that the mouth does not jitter."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for into, out in ((AUDIO_CODE, 16), (16, 8), (8, 4), (4, 2), (2, 1)):
            layers += [nn.Conv1d(into, out, 3, padding=1), nn.LeakyReLU(_SLOPE)]
        self.scores = nn.Sequential(*layers)
        self.weights = nn.Linear(frames, frames)

    def forward(self, codes: Tensor) -> Tensor:
        """(B, frames, 32) codes of neighbouring frames -> (B, 32)."""
        scores = self.scores(codes.transpose(1, 2)).squeeze(1)
        weights = torch.softmax(self.weights(scores), dim=-1)
        return torch.einsum("bf,bfc->bc", weights, codes)
