"""The first steps of a capture: the film is looked through, its sound read, and the frames chosen that take part.

All frames of the film are looked at once; from here on only those count that show the person, numbered anew, each with
its place on the film's clock.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from being.capture.cuts import Cut, find_cuts, frames_kept
from being.capture.landmarks.tracking import Track
from being.capture.looks import Looks, Watched
from being.capture.video.reader import SHORTEST_S, Footage
from being.capture.video.sound import FilmSound
from being.capture.workspace import Workspace
from being.constants import FPS
from being.media.reading.film_decoding import Decoding
from being.media.reading.notes import Note, Span, notes_as_json, notes_from_json

Step = Callable[[str], AbstractContextManager[None]]

_DECODED = ("stale_s", "failed", "interlaced", "resized")  # of a pass over the film, see `Decoding`


@dataclass(frozen=True)
class Selection:
    """Which frames of a film take part.

    Attributes
    ----------
    track : the face in the N frames that do, pixels of the film. frames : (N,) their numbers in the film, ascending.
    total : frames of the film. cuts : what was left out. sound : of all the film.
    notes : what was repaired and chosen while film and sound were read.
    """

    track: Track
    frames: NDArray[np.int64]
    total: int
    cuts: tuple[Cut, ...]
    sound: FilmSound
    notes: tuple[Note, ...]

    @property
    def breaks(self) -> NDArray[np.bool_]:
        """(N - 1,) where the film went on elsewhere before the next frame that takes part."""
        return np.diff(self.frames) > 1


def select_frames(
    footage: Footage,
    place: Workspace,
    follow_face: Callable[[Watched], Track],
    step: Step,
    audio_track: int | None = None,
) -> Selection:
    """Look through a film; what an earlier run kept in `place` is not done again.

    Raises
    ------
    InputError
        No face, too little of it, no sound, a film of which less than half can be decoded.
    """
    film = footage.film
    with step("landmarks"):
        track, looks = _looked_through(footage, place, follow_face)
    with step("sound"):
        sound = _heard(footage, place, audio_track)
    count = len(track.found)
    no_picture = film.last.missing if film.last is not None else None
    cuts = find_cuts(track, looks, no_picture, _frames_of(sound.missing, count))
    frames = frames_kept(cuts, count, SHORTEST_S)
    kept = Track(track.points[frames], track.found[frames], track.faces[frames])
    notes = tuple(dict.fromkeys((*film.told(), *sound.notes)))  # a joint is told by both
    return Selection(kept, frames, count, cuts, sound, notes)


def _looked_through(footage: Footage, place: Workspace, follow_face: Callable[[Watched], Track]) -> tuple[Track, Looks]:
    kept = place.load("track")
    if kept is not None:
        width, height = kept["scale"].tolist()
        footage.film.restore(Decoding(kept["stale_s"], *(kept[name].item() for name in _DECODED[1:])))
        return Track(kept["points"], kept["found"], kept["faces"]), Looks(kept["cells"], (width, height))
    watched = Watched(footage)
    track, looks = follow_face(watched), watched.looks
    state = {name: getattr(footage.film.last, name) for name in _DECODED}
    seen = {"points": track.points, "found": track.found, "faces": track.faces}
    place.save("track", **seen, cells=looks.cells, scale=looks.scale, **state)
    return track, looks


def _heard(footage: Footage, place: Workspace, audio_track: int | None) -> FilmSound:
    kept = place.load("sound")
    if kept is not None:
        missing = tuple(Span(start, seconds) for start, seconds in kept["missing"].tolist())
        return FilmSound(kept["samples"], notes_from_json(str(kept["notes"])), missing)
    sound = footage.heard(audio_track)
    spans = np.array([(span.start_s, span.seconds) for span in sound.missing]).reshape(-1, 2)
    place.save("sound", samples=sound.samples, notes=np.array(notes_as_json(sound.notes)), missing=spans)
    return sound


def _frames_of(spans: tuple[Span, ...], count: int) -> NDArray[np.bool_]:
    """Frames (count,) that stretches of seconds touch."""
    out = np.zeros(count, bool)
    for span in spans:
        out[int(span.start_s * FPS) : int(np.ceil((span.start_s + span.seconds) * FPS))] = True
    return out
