"""Which frames of a folder have everything: preparations of others leave out what they could not track.

AD-NeRF's (and ER-NeRF's, GeneFace's, SyncTalk's after it) writes no landmarks where it finds no face, then tracks only
the frames that have them: `track_params.pt` has a row for each of these, and the numbers of the others stay.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from being.errors import FormatError

LEAST_WHOLE = 0.5  # of the frames; a folder with less was copied or made by halves
NAMED = 5  # frames named in a note


@dataclass(frozen=True)
class Whole:
    """Frames that have everything.

    count : frames there should be. numbers (T,) of the whole ones as their files have them; poses, units (T,) their
    rows in track_params.pt and au.csv; notes: what was left out, and why.
    """

    count: int

    numbers: NDArray[np.int64]
    poses: NDArray[np.int64]
    units: NDArray[np.int64]
    notes: tuple[str, ...]


def whole_frames(
    path: Path,
    files: dict[str, Collection[int]],
    faces: Collection[int],
    listed: Collection[int],
    poses: int,
    units: int,
) -> Whole:
    """Find them.

    Parameters
    ----------
    files : for each kind of file that a frame needs ("picture", ...) the frames that have one.
    faces : frames with landmarks. listed : frames that the transforms files name.
    poses, units : how many rows track_params.pt and au.csv have.

    Raises FormatError where most frames lack something, or where nobody can know which rows are whose.
    """
    last = max(max(found, default=-1) for found in files.values()) + 1
    numberings = (range(last), sorted(files["picture"]), sorted(faces), sorted(listed))
    pose_rows = _rows_of(path / "track_params.pt", poses, numberings)
    unit_rows = _rows_of(path / "au.csv", units, numberings)
    lacking: dict[str, list[int]] = {}
    whole = []
    needed = {**files, "tracked pose": pose_rows, "row in au.csv": unit_rows}
    for number in range(last):
        missing = next((what for what, found in needed.items() if number not in found), None)
        if missing is None:
            whole.append(number)
        else:
            lacking.setdefault(missing, []).append(number)
    reasons = "; ".join(f"{len(numbers)} without {what} ({_shown(numbers)})" for what, numbers in lacking.items())
    left_out = f"{last - len(whole)} of {last} frames are left out: {reasons}"
    if len(whole) < max(1, LEAST_WHOLE * last):
        raise FormatError(f"{path}: {left_out}", "Frames are missing: copy the folder again or capture it again")
    return Whole(
        last,
        np.array(whole, np.int64),
        np.array([pose_rows[number] for number in whole], np.int64),
        np.array([unit_rows[number] for number in whole], np.int64),
        (left_out,) if lacking else (),
    )


def _rows_of(path: Path, rows: int, numberings: Sequence[Sequence[int]]) -> dict[int, int]:
    """Row by frame: there is one for each frame, or picture, or face, or frame that is listed."""
    for numbering in numberings:
        if len(numbering) == rows:
            return {number: row for row, number in enumerate(numbering)}
    everything, pictures, faces, _ = numberings
    if rows < len(everything) and not len(everything) == len(pictures) == len(faces):
        raise FormatError(
            f"{path} has {rows} rows for {len(everything)} frames, {len(pictures)} of them with a picture and "
            f"{len(faces)} with landmarks: nobody can know which is whose",
            "Copy the folder again or capture the video again",
        )
    return {number: number for number in range(min(rows, len(everything)))}


def _shown(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:NAMED])) + (", ..." if len(numbers) > NAMED else "")
