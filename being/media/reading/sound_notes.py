"""What there is to say about a scanned sound: holes, damage, joints, channels."""

from __future__ import annotations

import numpy as np

from being.media.reading.downmix import Levels
from being.media.reading.notes import Note, NoteKind, Span
from being.media.reading.sound_scan import TrackScan

LATE_S = 0.02  # a later beginning than this is told
CUT_OFF_S = 0.5  # and an end that is earlier than stated by this, or by 2%
QUIETER = 0.9  # a gain below this is told
_STATING = ("wav", "w64", "aiff", "caf", "flac", "mov", "wv", "tta", "ogg")


def track_notes(scan: TrackScan, zero_s: float, seconds: float, shown_at_s: float) -> list[Note]:
    """The notes on one track.

    Parameters
    ----------
    zero_s, seconds : what is given of the track: from where on its file's clock, and how much.
    shown_at_s : what is added to times, for a file that follows others.
    """
    notes: list[Note] = []
    if (late := scan.begins_s - zero_s) > LATE_S and late < seconds:
        what = "its pictures" if not np.isnan(scan.pictures_begin_s) else "its clock"
        notes.append(Note(NoteKind.LATE, f"The sound begins {late:.2f} s after {what}, silence stands before it"))
    damaged = {failure.before_frame for failure in scan.failures}
    holes: list[Span] = []
    replaced: list[Span] = []
    left_out: list[Span] = []
    ends = scan.begins_s + np.cumsum(scan.seconds)
    moved = 0.0
    for shift in scan.shifts:
        at = float(ends[shift.frame] - scan.seconds[shift.frame]) + moved - zero_s
        moved += shift.seconds
        if not -max(shift.seconds, 0.0) < at < seconds:
            continue
        span = Span(shown_at_s + at, abs(shift.seconds))
        near = not damaged.isdisjoint(range(shift.frame - 1, shift.frame + 2))
        (left_out if shift.seconds < 0 else replaced if near else holes).append(span)
    if holes:
        notes.append(Note(NoteKind.HOLE, "The sound has holes, silence stands there", tuple(holes)))
    if left_out:
        notes.append(Note(NoteKind.OVERLAP, "Sound that overlaps was left out", tuple(left_out)))
    if scan.failures:
        notes.append(_damage(len(scan.failures), replaced))
    notes += scan.clock.notes(zero_s - shown_at_s)
    if scan.ends_s - zero_s <= seconds + CUT_OFF_S:
        notes += _cut_off(scan, float(scan.seconds.sum()) + moved)
    return notes


def whole_notes(levels: Levels, gain: float, widest: tuple[str, ...], heard: int, files: int) -> list[Note]:
    """The notes on all files of a source together."""
    notes: list[Note] = []
    if len(widest) > 2:
        notes.append(Note(NoteKind.CHANNELS, f"{len(widest)} channels are mixed down to stereo"))
    if len(widest) > 1 and levels.cancel:
        louder = "left" if levels.left >= levels.right else "right"
        text = f"The channels cancel each other: the avatar hears the {louder} one alone"
        notes.append(Note(NoteKind.CHANNELS, text))
    if gain < QUIETER:
        text = f"The mixed channels are too loud together: made quieter by {-20 * np.log10(gain):.1f} dB"
        notes.append(Note(NoteKind.LEVEL, text))
    if files > 1:
        few = "only the first is read" if heard == 1 else f"{heard} of them are heard"
        which = "all are heard" if heard == files else few
        notes.append(Note(NoteKind.PARTS, f"{files} files stand end to end in one, {which}"))
    return notes


def _cut_off(scan: TrackScan, held: float) -> list[Note]:
    """Whether the file says that it is longer than what it holds."""
    stated = scan.stated_s if any(kind in _STATING for kind in scan.format.split(",")) else 0.0
    if scan.stated_end_s:
        stated = scan.stated_end_s
        held = max([stretches[-1].ends_s for stretches in scan.clock.stretches.values()], default=scan.ends_s)
    if stated - held <= max(CUT_OFF_S, 0.02 * stated):
        return []
    text = f"The file is cut off or damaged: it says {stated:.1f} s and holds {held:.1f} s"
    return [Note(NoteKind.CUT_OFF, text, remedy="Copy or download the file again")]


def _damage(count: int, replaced: list[Span]) -> Note:
    what = f"{count} packet{'s' if count > 1 else ''} of sound cannot be decoded"
    if replaced:
        return Note(NoteKind.DAMAGE, f"{what}, silence stands in their place", tuple(replaced))
    return Note(NoteKind.DAMAGE, f"{what}, left out")
