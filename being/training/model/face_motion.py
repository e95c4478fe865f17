"""Lips and lids of a training run, led by their filmed landmarks."""

from __future__ import annotations

import torch
from torch import Tensor

from being.training.config import FitConfig
from being.training.data.footage import Batch, Footage
from being.training.model.drawing import Moved
from being.training.model.lid_motion import LidMotion
from being.training.model.lip_motion import LipMotion


class FaceMotion:
    """What the network is asked to move beside the Gaussians.

    Attributes
    ----------
    lips, lids : None where they are not led. points : (P, 3) the landmarks of both, dm in head space; None: nothing is
    led.
    """

    def __init__(self, footage: Footage, config: FitConfig) -> None:
        self.lips: LipMotion | None = None
        self.lids: LidMotion | None = None
        if config.loss.lip_motion:
            self.lips = LipMotion(footage, config.lip_opening_weight, config.rehearsal, config.lip_depths)
        if config.loss.lid_motion:
            self.lids = LidMotion(footage)
        points = [part.points for part in (self.lips, self.lids) if part is not None]
        self.points = torch.cat(points) if points else None
        self._weights, self._quantile = config.loss, config.lip_quantile

    def costs(self, moved: Moved, batch: Batch) -> dict[str, Tensor]:
        """Weighted parts of the loss by name, of how `points` move.

        Lips follow the sound whatever the eyes do, and lids the eyes whatever is said: asked of the frames as they are
        and with each other's eyes. Rehearsed moments tell of the lips alone.
        """
        parts: dict[str, Tensor] = {}
        lips = 0 if self.lips is None else len(self.lips.points)
        if self.lips is not None:
            others = [] if moved.rehearsed is None else [moved.rehearsed]
            asked = (torch.cat([part, *others])[:, :lips] for part in (moved.frames, moved.swapped))
            cost = torch.stack([self.lips(part, batch, self._quantile) for part in asked]).mean()
            parts["lip_motion"] = self._weights.lip_motion * cost
        if self.lids is not None:
            own, swapped = (part[:, lips:] for part in (moved.frames, moved.swapped))
            cost = self.lids(own, batch.frames) + self.lids(swapped, batch.frames.roll(1, 0))
            parts["lid_motion"] = self._weights.lid_motion * cost / 2
        return parts
