"""Lips that are open while nobody speaks: breath taken before a sentence, a laugh, a mouth at rest that is not shut.

The sound says nothing of it. Untold, it is spread over all silence and every sentence: the mouth is half open when
nobody speaks, and half shut when it should be wide. So the network is told, as it is told of a smile.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d

LIPS_PARTED = "lips_parted"  # the name of the emotion
SURE, UNSURE = 0.7, 0.3  # silence in which the opening is none of speech, and in which it may be
NEIGHBOURS = 3  # frames around which there must be silence too: a p within a word is silent, and speech
LEAST = 0.25  # of an open mouth, which the silent lips must part at least once to be told of


def lips_parted(opening: NDArray[np.float32], quiet: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T,) in [0, 1] how far the lips are open in frames without speech, 0 in the others.

    opening : (T,) as `being.dataset.landmarks.mouth_opening`. quiet : (T,) see `being.training.data.speech.Speech`.
    """
    silent = np.clip((quiet - UNSURE) / (SURE - UNSURE), 0, 1)
    return np.asarray(opening * minimum_filter1d(silent, NEIGHBOURS), np.float32)


def worth_telling(parted: NDArray[np.float32]) -> bool:
    """Whether the footage shows lips (T,) that part while nobody speaks."""
    return bool(len(parted)) and float(parted.max()) >= LEAST
