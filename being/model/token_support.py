"""Keeps the audio token among those of the footage: a sound that was never heard must not tear the face.

Seconds of footage hold few sounds. Of another one the ear may say what the rest of the network never met, ten times as
far out as anything it was trained on, and what that does to ten thousand Gaussians nobody has seen before. So a token
that lies further from the recorded ones than these lie from each other is drawn back to them, smoothly; any other stays
as it is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float32]

USUAL = 90  # per cent of the recorded tokens have a neighbour within the usual distance
REACH = 2.0  # usual distances that a token may lie from the recorded ones
WIDENS = 16.0  # the further out, the more recorded tokens share in where it is drawn to: a quarter of its distance


def audio_context_range(heard: Floats) -> float:
    """How far a token may lie from the recorded ones (S, D); infinite where they do not tell."""
    if len(heard) < 3:
        return float("inf")
    apart = _distances(heard, heard)
    np.fill_diagonal(apart, np.inf)
    usual = float(np.percentile(np.sqrt(apart.min(1)), USUAL))
    return REACH * usual if usual > 0 else float("inf")


def stay_among(tokens: Tensor, heard: Tensor, reach: float) -> Tensor:
    """Tokens (B, D), those that lie too far from the recorded ones (S, D) drawn back to `reach` of them."""
    apart = torch.cdist(tokens, heard).square()
    nearest = apart.amin(1, keepdim=True)
    share = torch.softmax((nearest - apart) / (reach**2 + nearest / WIDENS), dim=1)
    middle = share @ heard
    away = tokens - middle
    length = away.norm(dim=1, keepdim=True)
    return torch.where(length > reach, middle + away * (reach / length), tokens)


def stay_among_numpy(tokens: Floats, heard: Floats, reach: float) -> Floats:
    """`stay_among` without PyTorch."""
    apart = _distances(tokens, heard)
    nearest = apart.min(1, keepdims=True)
    share = np.exp((nearest - apart) / (reach**2 + nearest / WIDENS))
    middle = (share / share.sum(1, keepdims=True)) @ heard
    away = tokens - middle
    length = np.sqrt((away * away).sum(1, keepdims=True))
    return np.where(length > reach, middle + away * (reach / np.maximum(length, 1e-30)), tokens).astype(np.float32)


def _distances(a: Floats, b: Floats) -> Floats:
    """(A, D) and (B, D) to squared distances (A, B)."""
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    return np.maximum(squared, 0)
