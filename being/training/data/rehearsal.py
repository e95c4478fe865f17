"""Speech that is heard beside the footage's, so that the mouth does not forget how others speak.

Seconds of one voice make the network forget the voices that its audio encoder was trained on: of a sentence in another
voice the mouth then shows a tenth of its range and shuts for no p. So every step hears, beside the footage, moments of
minutes of synthetic speech, and the lips' landmarks are asked to move as the synthetic person's do, as far as this
person's mouth opens. No picture is needed. Rehearsal: Robins 1995, "Catastrophic forgetting, rehearsal and
pseudorehearsal".

The speech (`rehearsal.npz`) is kept as features: steps (S, 32) bytes, the numbers of `phones` times 255; lips
(T, 20, 2) half precision, the mouth's landmarks x y in head space, dm. `python -m being.synthetic lips` makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from being.audio.features import FeatureExtractor
from being.audio.windows import WindowSpec, audio_context, frame_windows, silence_steps
from being.dataset.landmarks import MOUTH

FILE = Path(__file__).with_name("rehearsal.npz")
FEATURES = "phones"  # what the file holds; avatars of other features rehearse nothing


@dataclass(frozen=True)
class Rehearsal:
    """R moments of speech: contexts (R, 8, 16, D), and the mouth's landmarks, lips (R, 20, 2) x y in dm."""

    contexts: NDArray[np.float32]
    lips: NDArray[np.float32]

    def distances(self, pairs: Sequence[tuple[int, int, int]]) -> NDArray[np.float64]:
        """(R, C) of pairs of the 68 landmarks and an axis: by how much the second lies further along it, dm."""
        found = [self.lips[:, b - MOUTH.start, axis] - self.lips[:, a - MOUTH.start, axis] for a, b, axis in pairs]
        return np.stack(found, 1).astype(np.float64)


def load_rehearsal(extractor: FeatureExtractor, windows: WindowSpec) -> Rehearsal | None:
    """What is rehearsed with these features and windows; None where the speech is not kept as such."""
    if extractor.name != FEATURES or windows.look_ahead == "published":
        return None
    with np.load(FILE) as kept:
        steps, lips = kept["steps"].astype(np.float32) / 255, kept["lips"].astype(np.float32)
    silence = silence_steps(extractor)
    contexts = audio_context(frame_windows(steps, len(lips), windows, silence), windows, silence)
    return Rehearsal(np.ascontiguousarray(contexts, np.float32), lips)
