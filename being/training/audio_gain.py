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
FEWEST = 20  # held-out frames from which a percentile can be told


@torch.no_grad()
def amplify(network: DeformationNetwork, footage: Footage, lips: LipMotion, most: float) -> float:
    """Amplify the network's audio token in place, at most by `most`; the gain. Before its tokens are recorded."""
    frames = footage.held_out.all
    if most <= 1 or len(frames) < FEWEST or not hasattr(network, "audio_token"):
        return 1.0
    weight = network.audio_token.out.weight
    trained, best, wanted = weight.clone(), 1.0, 0.0
    for gain in np.arange(1.0, most + STEP / 2, STEP):
        weight.copy_(gain * trained)
        opened, follows = _scores(LipOpening(network, footage, lips), frames)
        if gain == 1.0:
            wanted = follows - WORSE
        if not follows >= wanted or opened >= 1:
            best = float(gain) if follows >= wanted else best
            break
        best = float(gain)
    weight.copy_(best * trained)
    return round(best, 2)


def _scores(opening: LipOpening, frames: Sequence[int]) -> tuple[float, float]:
    """The 95th percentile of the openings as a share of the film's, and their correlation with them; NaN: none."""
    film, moved = opening.filmed[list(frames)], opening.of_frames(frames)
    follows = float(np.corrcoef(film, moved)[0, 1]) if film.std() > 0 < moved.std() else float("nan")
    return float(np.percentile(moved, 95) / max(float(np.percentile(film, 95)), 1e-6)), follows
