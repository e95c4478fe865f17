"""What the synthetic person's lips do while it speaks, and how that sounds: nothing is drawn.

Training rehearses it (`being.training.data.rehearsal`, which says what the file holds).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from being.audio.extractors import load_extractor
from being.audio.features import STEPS_PER_FRAME, FeatureSpec
from being.dataset.landmarks import MOUTH
from being.synthetic import rig
from being.synthetic.landmarks import COUNT, head_landmarks
from being.synthetic.performance import Performance

AHEAD = 2 * STEPS_PER_FRAME  # steps after the last frame, for contexts that look ahead


def mouth_landmarks(clip: Performance) -> NDArray[np.float64]:
    """(T, 20, 2) the mouth's landmarks in head space, x y in dm."""
    found, points = np.empty((clip.frames, COUNT, 3)), np.empty((COUNT, 3))
    for index in range(clip.frames):
        head_landmarks(rig.parameters(clip.state(index)), points)
        found[index] = points
    return found[:, MOUTH, :2]


def write_lips(clip: Performance, out: Path) -> None:
    """Save steps of `phones` as bytes, (2 T + 4, 32), and the mouth's landmarks in half precision, (T, 20, 2)."""
    steps = load_extractor(FeatureSpec(name="phones"))(clip.pcm, 0, STEPS_PER_FRAME * clip.frames + AHEAD)
    kept = np.round(np.clip(steps, 0, 1) * 255).astype(np.uint8)
    np.savez_compressed(out, steps=kept, lips=mouth_landmarks(clip).astype(np.float16))
