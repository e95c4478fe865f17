"""How far apart the lips are, asked of the deformation itself.

A picture says little about a mouth that opens too little: lips that fade into darkness cost hardly more than lips
that move, and where the sound leaves the opening open, the cheapest picture is half-shut. So the network is also asked
how it moves the lips' landmarks, and the distances between them are held against the filmed ones
(`being.training.model.landmark_distances`): inner and outer lips up and down, corners across.

Too little can be made to cost more than too much (pinball loss): the network then shows an upper quantile of what the
sound leaves open, not the median.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from being.dataset.landmarks import INNER_LIPS, MOUTH
from being.training.data.footage import Batch, Footage
from being.training.model.landmark_distances import LandmarkDistances

# Upper and lower lip by height, corners by width.
APART = (
    *((a, b, 1) for a, b in ((61, 67), (62, 66), (63, 65))),
    *((a, b, 1) for a, b in ((50, 58), (51, 57), (52, 56))),
    *((a, b, 0) for a, b in ((48, 54), (60, 64))),
)
MIDDLE = APART.index((*INNER_LIPS, 1))
LOW, HIGH = 5, 95  # per cent of the frames: where a distance is narrow and wide
LEAST = 0.35  # of the way a rehearsed speaker's lips go: people filmed go 0.4 to 1.2, one who is silent teaches no less


class LipMotion(LandmarkDistances):
    """The lips' landmarks of some footage; `points` and `filmed` as `LandmarkDistances`.

    Attributes
    ----------
    rehearsed : (R, C) distances of the pairs `APART` in the rehearsed speech, dm, as wide as this mouth opens in the
    training frames, at least `LEAST` of the speaker's; (0, C) without.
    """

    def __init__(
        self,
        footage: Footage,
        opening_weight: float = 0.0,
        rehearsal: float = 0.0,
        depths: Sequence[float] = (0.0,),
    ) -> None:
        """opening_weight : how much more a pair of frames counts where the one with wider lips has them wide open.
        rehearsal : how much a pair counts in which a moment is rehearsed; 1: as one of the film's. depths : see
        `LandmarkDistances`.
        """
        super().__init__(footage, MOUTH, APART, depths)
        low, high = np.percentile(self.filmed.cpu().numpy()[list(footage.train)], (LOW, HIGH), axis=0)
        others = np.zeros((0, len(APART)))
        if footage.rehearsal is not None:
            others = footage.rehearsal.distances(APART)
            least, most = np.percentile(others, (LOW, HIGH), axis=0)
            share = np.maximum((high - low) / np.maximum(most - least, 1e-6), LEAST)
            others = high + (others - most) * share  # from shut lips on: the highest number
        self.rehearsed = torch.from_numpy(others).float().to(footage.device)
        self._opening_weight, self._rehearsal = opening_weight, rehearsal
        self._shut, self._range = float(high[MIDDLE]), float(high[MIDDLE] - low[MIDDLE])  # open lips: the lowest number

    def __call__(self, displacement: Tensor, batch: Batch, quantile: float) -> Tensor:
        """Mean cost, dm, of displacements (B or 2 B, P, 3) of `points`: in the frames of a batch, then, where there are
        more, in its rehearsed moments. `quantile` 0.5: all errors alike.
        """
        found = self.further(displacement)
        wanted = self.filmed.index_select(0, batch.frames)
        if len(found) > len(wanted):
            wanted = torch.cat([wanted, self.rehearsed.index_select(0, batch.rehearsed)])
        further = (wanted[:, None] - wanted[None])[:, :, None]  # (B, B, 1, C)
        short = further.abs() - further.sign() * (found[:, None] - found[None])
        cost = 2 * torch.maximum(quantile * short, (quantile - 1) * short).mean((-1, -2))
        if self._opening_weight:
            opened = ((self._shut - wanted[:, MIDDLE]) / max(self._range, 1e-6)).clamp(0, 1)
            cost = cost * (1 + self._opening_weight * torch.maximum(opened[:, None], opened[None]))
        own = len(batch.frames)
        total = cost[:own, :own].mean()  # the film's pairs count the same whatever is rehearsed
        if len(found) > own:
            total = total + self._rehearsal * (cost.sum() - cost[:own, :own].sum()) / own**2
        return total
