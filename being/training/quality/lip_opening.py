"""How far the deformation itself opens the mouth, against the film: no picture is drawn, no face tracker is needed.

The network is asked how it moves the landmarks of the inner lips (`being.training.model.lip_motion`). What it answers
for speech that was never heard can be held against the film's range. Lips as drawn may differ, as Gaussians near a
landmark move only nearly as it does: `being.training.quality.lip_sync` looks at those.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from being.model import Conditions, DeformationNetwork, camera_code
from being.training.data.footage import Footage
from being.training.data.parted_lips import LIPS_PARTED
from being.training.model.drawing import emotion_of
from being.training.model.lip_motion import MIDDLE, LipMotion

Openings = NDArray[np.float32]
DOWN = -1  # head space has y upwards, and the lower lip is the second of its pair
SHUT = 5  # per cent of the training frames: how many have shut lips, at least
SPOKEN = 0.5  # silence under which a frame is speech
CHUNK = 64  # frames asked for at once


class LipOpening:
    """Openings, dm, of film and deformation for a trained network.

    Both count from the film's shut lips on, its `SHUT`th percentile. Where the lips rest is not in the deformation: the
    medians over the training frames are laid on each other.

    lips : made of the footage as training saw it, before `Footage.adopt`: landmarks that are triangulated with other
    poses lie elsewhere in depth, by half a centimetre, and the field between the lips tears within less than that.

    filmed : (T,).
    """

    def __init__(self, network: DeformationNetwork, footage: Footage, lips: LipMotion) -> None:
        self._network, self._footage, self._lips = network, footage, lips
        train, gap = list(footage.train), DOWN * self._lips.filmed[:, MIDDLE].cpu().numpy()
        self.filmed: Openings = np.asarray(gap - np.percentile(gap[train], SHUT), np.float32)
        self._rest = float(np.median(self.filmed[train]) - np.median(self._asked(footage.contexts[train], train)))

    def of_frames(self, frames: Sequence[int]) -> Openings:
        """(K,) how far the deformation opens the mouth in frames of the footage."""
        return self._asked(self._footage.contexts[list(frames)], frames) + self._rest

    def of_speech(self, contexts: Tensor, frame: int) -> Openings:
        """(K,) the same for other sound (K, 8, 16, D), head and lids as in one frame, lips parted by speech alone."""
        return self._asked(contexts, [frame] * len(contexts), spoken=True) + self._rest

    @torch.no_grad()
    def _asked(self, contexts: Tensor, frames: Sequence[int], spoken: bool = False) -> Openings:
        footage, network, lips = self._footage, self._network, self._lips
        expressions = footage.expressions.clone()
        if spoken and LIPS_PARTED in footage.expression_names:
            expressions[:, footage.expression_names.index(LIPS_PARTED)] = 0
        features = network.canonical_features(lips.points)
        found = []
        for start in range(0, len(frames), CHUNK):
            where = torch.tensor(list(frames[start : start + CHUNK]), device=footage.device)
            pose = camera_code(footage.head_poses[where])
            shown = emotion_of(network, expressions[where])
            conditions = Conditions(contexts[start : start + CHUNK], footage.closure[where], pose, shown)
            moved = network.offsets(features, network.condition_tokens(conditions)).xyz
            found.append(DOWN * lips.further(moved).mean(1)[:, MIDDLE])
        return torch.cat(found).cpu().numpy() if found else np.zeros(0, np.float32)


def opening_scores(opening: LipOpening, frames: Sequence[int], quiet: Openings) -> dict[str, float]:
    """Scores of some frames by name: `opening`, the 95th percentile as a share of the film's; `correlation`; and both
    over the frames in which somebody speaks alone (`spoken_...`). quiet : (T,) see `Speech.quiet`.
    """
    out = {}
    for name, chosen in (("", list(frames)), ("spoken_", [frame for frame in frames if quiet[frame] < SPOKEN])):
        if len(chosen) > 2:
            film, moved = opening.filmed[chosen], opening.of_frames(chosen)
            out[f"{name}opening"] = float(np.percentile(moved, 95) / max(float(np.percentile(film, 95)), 1e-6))
            if film.std() > 0 < moved.std():
                out[f"{name}correlation"] = float(np.corrcoef(film, moved)[0, 1])
    return out
