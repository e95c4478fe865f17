"""Speech that was not trained on opens the mouth too little: how much louder the network should hear it.

A network that was trained with noise says less of what it is less sure of: frames it was taught open as filmed, others
by two thirds. So the audio token is amplified after training, by what lets the deformation open the mouth in held-out
frames as far as the film does, as long as it follows the film's openings as well as before. In statistical speech
synthesis the like is done for the variance of what is predicted: Toda and Tokuda 2007, "A speech parameter generation
algorithm considering global variance".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from being.model import DeformationNetwork
from being.training.data.footage import Footage
from being.training.model.lip_motion import LipMotion
from being.training.quality.lip_opening import LipOpening

STEP = 0.1  # between gains that are tried
WORSE = 0.02  # of the correlation that may be lost
FEWEST = 10  # frames of a held-out block that a percentile can be told of


@torch.no_grad()
def amplify(network: DeformationNetwork, footage: Footage, lips: LipMotion, most: float) -> float:
    """Amplify the network's audio token in place, at most by `most`; the gain. Before its tokens are recorded."""
    held = footage.held_out
    blocks = [frames for frames in (held.inner, held.end) if len(frames) >= FEWEST]
    if most <= 1 or not blocks or not hasattr(network, "audio_token"):
        return 1.0
    weight = network.audio_token.out.weight
    trained, best = weight.clone(), 1.0
    before, followed = _scores(LipOpening(network, footage, lips), blocks)
    for gain in np.arange(1.0 + STEP, most + STEP / 2, STEP):
        if before >= 1:
            break
        weight.copy_(gain * trained)
        opened, follows = _scores(LipOpening(network, footage, lips), blocks)
        if not (opened > before and follows >= followed - WORSE):
            break
        best, before = float(gain), opened
    weight.copy_(best * trained)
    return round(best, 2)


def _scores(opening: LipOpening, blocks: Sequence[Sequence[int]]) -> tuple[float, float]:
    """The openings' 95th percentile as a share of the film's, and their correlation with them, means over the blocks;
    NaN: none."""
    shares, follows = [], []
    for frames in blocks:
        film, moved = opening.filmed[list(frames)], opening.of_frames(frames)
        shares.append(float(np.percentile(moved, 95) / max(float(np.percentile(film, 95)), 1e-6)))
        follows.append(float(np.corrcoef(film, moved)[0, 1]) if film.std() > 0 < moved.std() else float("nan"))
    return float(np.mean(shares)), float(np.mean(follows))
