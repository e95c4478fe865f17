"""How far the lids shut when they ought to, against the film: by the deformation alone, or as a face tracker sees them.

The network is asked how it moves the lids' landmarks (`being.training.model.lid_motion`), as it is asked for the lips'
in `being.training.quality.lip_opening`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from being.dataset.landmarks import EYE_CORNERS
from being.model import Conditions, DeformationNetwork, camera_code
from being.training.data.footage import Footage
from being.training.model.drawing import emotion_of
from being.training.model.lid_motion import LOWER, UPPER, LidMotion

OPEN, SHUT = 0.1, 0.5  # closures up to and from which lids count as open and as shut
CHUNK = 64  # frames asked for at once

Gaps = NDArray[np.float32]


class LidClosing:
    """Distances between upper and lower lids, dm, of film and deformation.

    lids : made of the footage as training saw it, before `Footage.adopt`, see `LipOpening`. filmed : (T,).
    """

    def __init__(self, network: DeformationNetwork, footage: Footage, lids: LidMotion) -> None:
        self._network, self._footage, self._lids = network, footage, lids
        self.filmed: Gaps = lids.gap(lids.filmed).cpu().numpy()

    @torch.no_grad()
    def of_frames(self, frames: Sequence[int]) -> Gaps:
        """(K,) how far the deformation draws the lids apart in frames of the footage, whose rest is not in it."""
        footage, network = self._footage, self._network
        features, found = network.canonical_features(self._lids.points), []
        for start in range(0, len(frames), CHUNK):
            where = torch.tensor(list(frames[start : start + CHUNK]), device=footage.device)
            shown = emotion_of(network, footage.expressions[where])
            camera = camera_code(footage.head_poses[where])
            conditions = Conditions(footage.contexts[where], footage.closure[where], camera, shown)
            moved = network.offsets(features, network.condition_tokens(conditions)).xyz
            found.append(self._lids.gap(self._lids.further(moved).mean(1)))
        return torch.cat(found).cpu().numpy() if found else np.zeros(0, np.float32)

    def share(self, frames: Sequence[int]) -> float | None:
        """Of the way that the film's lids go from open to shut, that of the deformation's; None without a blink."""
        chosen = list(frames)
        closure = self._footage.closure[chosen, 0].cpu().numpy()
        return closing_share(self.filmed[chosen], self.of_frames(chosen), closure)


def closing_share(filmed: Gaps, found: Gaps, closure: NDArray[np.float32]) -> float | None:
    """How far lids shut, as a share of how far the film's do; gaps and closures (K,). None without open and shut eyes.

    By the means of the gaps with open and with shut eyes, so that what is open may differ from the film's.
    """
    opened, shut = closure <= OPEN, closure >= SHUT
    if not opened.any() or not shut.any():
        return None
    way = float(filmed[opened].mean() - filmed[shut].mean())
    return float(found[opened].mean() - found[shut].mean()) / way if way > 0 else None


def lid_gaps(landmarks: NDArray[np.float32]) -> Gaps:
    """Gap between the lids over the eyes' distance: (T, 68, 2) -> (T,)."""
    gap = np.linalg.norm(landmarks[:, UPPER] - landmarks[:, LOWER], axis=-1).mean(1)
    eyes = np.linalg.norm(landmarks[:, EYE_CORNERS[0]] - landmarks[:, EYE_CORNERS[1]], axis=-1)
    return np.asarray(gap / np.maximum(eyes, 1e-6), np.float32)
