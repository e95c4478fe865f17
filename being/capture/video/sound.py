"""The sound that goes with the frames of a film."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from being.errors import InputError
from being.media.notes import Note
from being.media.sound_file import MODEL_RATE
from being.media.sound_reader import open_film_sound
from being.media.tracks import SILENT_PEAK


def film_sound(
    path: Path, start_s: float, seconds: float, track: int | None = None
) -> tuple[NDArray[np.float32], tuple[Note, ...]]:
    """16 kHz mono in [-1, 1], exactly `seconds` long, and what was repaired and chosen.

    Parameters
    ----------
    start_s : time of the first frame on the film's clock; sample 0 sounds then.
    track : which sound track, from 1; None: the default one, else the first that is not silent.

    Raises
    ------
    InputError
        The sound cannot be read, or is silent throughout.
    """
    opened = open_film_sound(path, start_s, seconds, track=track)
    samples = opened.model_pcm()
    wanted = round(seconds * MODEL_RATE)
    sound = np.zeros(wanted, np.float32)
    sound[: len(samples)] = samples[:wanted]
    if np.abs(sound).max(initial=0.0) < SILENT_PEAK:
        which = "sound" if track is None else f"sound track {track}"
        raise InputError(f"The {which} of {path} is silent", "Film again with the microphone on")
    return sound, opened.notes
