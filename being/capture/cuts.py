"""Which frames of a film take part: those that show the person, in the scene that most of the film shows.

Frames without a face, black and blank ones, fades, title cards, other scenes, holes in the pictures or in the sound are
left out of plate, poses and training; the cut list says where and why.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from being.capture.landmarks.tracking import Track
from being.capture.looks import Looks
from being.capture.scenes import main_scene
from being.constants import FPS
from being.errors import InputError

BLINK_OF_TRACKER = 5  # frames in a row without a face that count as the tracker's slip where the look stays the same
BLANK_CONTRAST, BLACK = 5.0, 28.0  # grey levels: spread over a picture that shows nothing; mean of a black one
DIM = 0.6  # a frame with less than this share of the usual brightness or contrast is left out
FADED = 0.06  # brightness or contrast off by more than this share, next to what was left out: a fade
CHANGED = 4.0  # grey levels by which a still scene's frames may differ from the settled look, beyond their own motion
LONGEST_FADE = 60  # frames
SETTLED = slice(12, 37)  # frames after a frame whose mean look is the settled one
RIM = 2  # frames beside a cut: the tracker and the codec lag behind
SOUND_REACH = 8  # frames whose window of sound may reach into a hole of it
SHORTEST_PIECE = 12  # frames between two cuts that are worth keeping
MOST_CROWDED = 0.1  # share of the frames that may show a second face before those are left out


class Reason(StrEnum):
    """Why frames are left out, as the report words it."""

    BLACK = "black picture"
    BLANK = "blank picture"
    NO_FACE = "no face"
    OTHER = "another scene"
    FADE = "fade or dissolve"
    DIM = "much darker than the rest"
    CROWD = "a second face"
    NO_PICTURE = "no picture in the file"
    NO_SOUND = "no sound in the file"
    SHORT = "too short between two cuts"


_REASONS = tuple(Reason)


@dataclass(frozen=True)
class Cut:
    """Frames `start` to before `stop` of the film, left out."""

    start: int
    stop: int
    reason: Reason

    @property
    def seconds(self) -> tuple[float, float]:
        """From, to."""
        return self.start / FPS, self.stop / FPS

    def __str__(self) -> str:
        start, stop = self.seconds
        return f"{start:.2f} to {stop:.2f} s: {self.reason}"


def find_cuts(
    track: Track,
    looks: Looks,
    no_picture: NDArray[np.bool_] | None = None,
    no_sound: NDArray[np.bool_] | None = None,
) -> tuple[Cut, ...]:
    """What is left out of a film of T frames.

    Parameters
    ----------
    track, looks : of all T frames, in the film's pixels. no_picture, no_sound : (T,) where the file has none.
    """
    count = len(track.found)
    marks = np.full(count, -1)  # index into _REASONS
    grey = looks.cells.astype(np.float32).mean(axis=-1).reshape(count, -1)
    level, contrast = grey.mean(axis=1), grey.std(axis=1)
    blank = contrast < BLANK_CONTRAST
    nothing = blank & (level < BLACK)
    _mark(marks, _lost(track.found, grey, blank), Reason.NO_FACE)
    _mark(marks, blank & (marks >= 0), Reason.BLANK, over=True)
    _mark(marks, nothing, Reason.BLACK, over=True)
    main = main_scene(track, looks, marks < 0)
    _mark(marks, ~main, Reason.OTHER)
    kept = marks < 0
    if kept.any():
        dim = (level < DIM * np.median(level[kept])) | (contrast < DIM * np.median(contrast[kept]))
        _mark(marks, dim, Reason.DIM)
    _mark_fades(marks, grey, level, contrast)
    _widen(marks, RIM)
    crowded = track.faces > 1
    if (crowded & (marks < 0)).sum() > MOST_CROWDED * max((marks < 0).sum(), 1):
        _mark(marks, crowded, Reason.CROWD)
    if no_picture is not None:
        _mark(marks, no_picture, Reason.NO_PICTURE)
    if no_sound is not None:
        _mark(marks, _grown(no_sound, SOUND_REACH), Reason.NO_SOUND)
    for start, stop in runs(marks < 0):
        if stop - start < SHORTEST_PIECE and stop - start < count:
            marks[start:stop] = _REASONS.index(Reason.SHORT)
    return _listed(marks)


def frames_kept(cuts: tuple[Cut, ...], count: int, least_s: float) -> NDArray[np.int64]:
    """Numbers of the frames that take part, of `count`.

    Raises
    ------
    InputError
        Fewer than `least_s` seconds are left.
    """
    usable = np.ones(count, bool)
    for cut in cuts:
        usable[cut.start : cut.stop] = False
    if usable.sum() < least_s * FPS:
        why: dict[Reason, float] = {}
        for cut in cuts:
            why[cut.reason] = why.get(cut.reason, 0.0) + (cut.stop - cut.start) / FPS
        said = ", ".join(f"{reason} {seconds:.1f} s" for reason, seconds in sorted(why.items(), key=lambda kv: -kv[1]))
        raise InputError(
            f"{usable.sum() / FPS:.1f} s of {count / FPS:.1f} s show one face, {least_s:g} s are needed ({said})",
            "Keep one face in the picture, uncovered, towards the camera and in even light, or film for longer",
        )
    return np.flatnonzero(usable)


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Runs of true (start, stop)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _mark(marks: NDArray[np.int64], where: NDArray[np.bool_], reason: Reason, over: bool = False) -> None:
    marks[where if over else where & (marks < 0)] = _REASONS.index(reason)


def _widen(marks: NDArray[np.int64], by: int) -> None:
    """What is left out grows into the frames beside it."""
    for start, stop in runs(marks >= 0):
        before, after = marks[max(start - by, 0) : start], marks[stop : stop + by]
        before[before < 0], after[after < 0] = marks[start], marks[stop - 1]


def _grown(flags: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    return np.convolve(flags, np.ones(2 * by + 1), "same") > 0 if flags.any() else flags


def _lost(found: NDArray[np.bool_], grey: NDArray[np.float32], blank: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Frames without a face, but for a tracker's slips of a few frames in which the picture stays as it is."""
    lost = ~found
    for start, stop in runs(lost):
        if stop - start > BLINK_OF_TRACKER or blank[start:stop].any() or start == 0 or stop == len(found):
            continue
        beside = (grey[start - 1] + grey[stop]) / 2
        apart = np.abs(grey[start - 1] - grey[stop]).mean()
        if np.abs(grey[start:stop] - beside).mean(axis=1).max() < apart + CHANGED:
            lost[start:stop] = False
    return lost


def _mark_fades(
    marks: NDArray[np.int64], grey: NDArray[np.float32], level: NDArray[np.float32], contrast: NDArray[np.float32]
) -> None:
    """From the edges of what is kept inwards: frames that are still on the way to the settled look."""
    edges = marks >= 0
    for start, stop in runs(~edges):
        for onward in (True, False):
            numbers = np.arange(start, stop) if onward else np.arange(stop - 1, start - 1, -1)
            faded = _faded(grey[numbers], level[numbers], contrast[numbers])
            beside = start - 1 if onward else stop
            jumps = 0 <= beside < len(marks) and np.abs(grey[beside] - grey[numbers[0]]).mean() > CHANGED
            if faded and not jumps and not _far_off(grey[numbers], level[numbers], contrast[numbers], faded):
                faded = 0
            _mark(marks, np.isin(np.arange(len(marks)), numbers[:faded]), Reason.FADE)


def _faded(grey: NDArray[np.float32], level: NDArray[np.float32], contrast: NDArray[np.float32]) -> int:
    """How many of a piece's first frames are on the way to its settled look."""
    count = len(grey)
    for index in range(min(LONGEST_FADE, count)):
        later = slice(min(index + SETTLED.start, count - 1), min(index + SETTLED.stop, count))
        look = grey[later].mean(axis=0)
        own = float(np.abs(grey[later] - look).mean())  # of the person's motion, and the camera's
        light, depth = float(np.median(level[later])), float(np.median(contrast[later]))
        off = abs(level[index] - light) > FADED * light + 1 or abs(contrast[index] - depth) > FADED * depth + 1
        still = own < CHANGED / 2
        if not (off or (still and np.abs(grey[index] - look).mean() > 2 * own + CHANGED)):
            return index
    return min(LONGEST_FADE, count)


def _far_off(grey: NDArray[np.float32], level: NDArray[np.float32], contrast: NDArray[np.float32], faded: int) -> bool:
    """Where nothing jumps, at the film's ends too: only a clear fade counts, not a sway of exposure or camera."""
    settled = slice(min(faded, len(level) - 1), min(faded + SETTLED.stop, len(level)))
    light, depth = float(np.median(level[settled])), float(np.median(contrast[settled]))
    look = grey[settled].mean(axis=0)
    own = float(np.abs(grey[settled] - look).mean())
    away = float(np.abs(grey[0] - look).mean())
    return contrast[0] < 0.75 * depth or abs(level[0] - light) > 0.25 * light or away > 2 * own + 3 * CHANGED


def _listed(marks: NDArray[np.int64]) -> tuple[Cut, ...]:
    edges = np.flatnonzero(np.diff(marks, prepend=-2, append=-2))
    pieces = itertools.pairwise(edges)
    return tuple(Cut(int(a), int(b), _REASONS[marks[a]]) for a, b in pieces if marks[a] >= 0)
