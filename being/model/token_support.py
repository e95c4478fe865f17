"""Token support: audio tokens outside the training distribution are clamped to it.

Seconds of footage hold few sounds. For another sound the audio encoder's token may lie ten times as far out as any that
the rest of the network was trained on, where its offsets are arbitrary and tear the face. So a token that lies further
from the recorded training tokens than these lie from each other is drawn back to them, smoothly; others are unchanged.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float32]

USUAL = 90  # per cent of the recorded tokens have a neighbour within the usual distance
RADIUS = 2.0  # usual distances that a token may lie from the recorded ones
ROUNDING = 2e-3  # of the tokens' length: distances below it are rounding errors of their squares in float32
WIDENS = 16.0  # the further out, the more recorded tokens share in where it is drawn to: a quarter of its distance


def support_radius(recorded: Floats) -> float:
    """How far a token may lie from the recorded ones (S, D); infinite where they do not tell."""
    if len(recorded) < 3:
        return float("inf")
    apart = _distances(recorded, recorded)
    np.fill_diagonal(apart, np.inf)
    usual = float(np.percentile(np.sqrt(apart.min(1)), USUAL))
    length = float(np.sqrt((recorded * recorded).sum(1).mean()))
    return RADIUS * usual if usual > ROUNDING * length else float("inf")


def clamp_to_support(tokens: Tensor, recorded: Tensor, radius: float) -> Tensor:
    """Tokens (B, D), those that lie too far from the recorded ones (S, D) drawn back to `radius` of them."""
    apart = torch.cdist(tokens, recorded).square()
    nearest = apart.amin(1, keepdim=True)
    share = torch.softmax((nearest - apart) / (radius**2 + nearest / WIDENS), dim=1)
    middle = share @ recorded
    away = tokens - middle
    length = away.norm(dim=1, keepdim=True)
    return torch.where(length > radius, middle + away * (radius / length), tokens)


def clamp_to_support_numpy(tokens: Floats, recorded: Floats, radius: float) -> Floats:
    """`clamp_to_support` without PyTorch."""
    apart = _distances(tokens, recorded)
    nearest = apart.min(1, keepdims=True)
    share = np.exp((nearest - apart) / (radius**2 + nearest / WIDENS))
    middle = (share / share.sum(1, keepdims=True)) @ recorded
    away = tokens - middle
    length = np.sqrt((away * away).sum(1, keepdims=True))
    return np.where(length > radius, middle + away * (radius / np.maximum(length, 1e-30)), tokens).astype(np.float32)


def _distances(a: Floats, b: Floats) -> Floats:
    """(A, D) and (B, D) to squared distances (A, B)."""
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T
    return np.maximum(squared, 0)
