"""How far finished corrections of poses are smoothed over time: as far as the pictures bear it.

What was wrong with tracked poses changes slowly in part, as these were solved smoothly themselves, and what frames were
given beside it is noise: a short training, and shoulders whose turn hardly shows, gain by a smoothing over some frames.
After a long one corrections follow every nod that a tracker cuts short, and the same smoothing costs a decibel. So
several are tried on frames of the film, and the strongest is taken that shows them as well as the best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from being.training.model.corrections import FrameCorrections

TRIED = (0.0, 0.5, 1.0)  # shares of the deviation that is asked for
BEARABLE = 0.02  # dB under the best that are none: far below what two trainings differ by


@torch.no_grad()
def smooth_poses(
    corrections: FrameCorrections, known: Sequence[int], breaks: NDArray[np.bool_], fidelity: Callable[[], float]
) -> dict[str, float]:
    """Smooth the corrections of heads, then of torsos, at most as `CorrectionConfig` says.

    Parameters
    ----------
    known : frames that were posed; the others say nothing, and stay. breaks : (T - 1,) where time does not go on.
    fidelity : how well frames of the film are drawn with the poses of now, dB.

    Returns
    -------
    deviations of the Gaussians taken, frames; {} where nothing was corrected.
    """
    if "head" not in corrections.rates:
        return {}
    most = {"head": corrections.config.head_smoothing, "torso": corrections.config.torso_smoothing}
    taken = {}
    for name, deviation in most.items():
        if deviation == 0:
            taken[name] = deviation
            continue
        part = getattr(corrections, name)
        rough = part.detach().clone()
        shown: dict[float, float] = {}
        for tried in sorted({share * deviation for share in TRIED}):
            part.copy_(smoothed(rough, tried, known, breaks))
            shown[tried] = fidelity()
        best = max(shown.values())
        as_good = (tried for tried, decibels in shown.items() if decibels >= best - BEARABLE)
        taken[name] = max(as_good, default=deviation)
        part.copy_(smoothed(rough, taken[name], known, breaks))
    return taken


def smoothed(values: Tensor, deviation: float, known: Sequence[int], breaks: NDArray[np.bool_]) -> Tensor:
    """Values (T, N) of frames smoothed by a Gaussian of a deviation in frames; arguments as `smooth_poses`."""
    if deviation == 0:
        return values
    there = np.zeros(len(values))
    there[list(known)] = 1
    starts = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(there)]
    found = values.double().cpu().numpy().copy()
    for one in map(slice, starts, starts[1:]):
        total = gaussian_filter1d(found[one] * there[one, None], deviation, axis=0, mode="constant")
        share = gaussian_filter1d(there[one], deviation, mode="constant")[:, None]
        found[one] = np.where(there[one, None] > 0, total / np.maximum(share, 1e-12), found[one])
    return torch.from_numpy(found).to(values)
