"""The sound that goes with the frames of a film."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from being.errors import InputError
from being.media.reading.notes import Note, Span
from being.media.reading.sound_file import MODEL_RATE
from being.media.reading.sound_reader import open_film_sound
from being.media.reading.sound_scan import TrackScan
from being.media.reading.tracks import SILENT_PEAK

NEAR_S = 0.04  # a shorter hole is nothing that lips would show
ENDS_EARLY_S = 0.5  # recorders end sound and pictures by so much apart, and mouths are shut by then


@dataclass(frozen=True)
class FilmSound:
    """16 kHz mono in [-1, 1], `samples` (S,); what was repaired and chosen; where the file has no sound."""

    samples: NDArray[np.float32]
    notes: tuple[Note, ...]
    missing: tuple[Span, ...]


def film_sound(path: Path, start_s: float, seconds: float, track: int | None = None) -> FilmSound:
    """The sound of a film, exactly `seconds` long.

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
    return FilmSound(sound, opened.notes, _missing(opened.parts[0].scan, start_s, seconds))


def _missing(scan: TrackScan, start_s: float, seconds: float) -> tuple[Span, ...]:
    """Holes between decoded frames, and what is missing at the beginning and at the end."""
    first, last = scan.begins_s - start_s, scan.ends_s - start_s
    out = [Span(0.0, min(first, seconds))] if first > NEAR_S else []
    moved = 0.0
    ends = scan.begins_s + np.cumsum(scan.seconds)
    for shift in scan.shifts:
        at = float(ends[shift.frame] - scan.seconds[shift.frame]) + moved - start_s
        moved += shift.seconds
        if shift.seconds > NEAR_S and -shift.seconds < at < seconds:
            out.append(Span(max(at, 0.0), min(shift.seconds, seconds - at)))
    if seconds - last > ENDS_EARLY_S:
        out.append(Span(max(last, 0.0), seconds - max(last, 0.0)))
    return tuple(out)
