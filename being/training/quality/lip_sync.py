"""Lip sync: landmarks of rendered against filmed held-out frames, by the same face tracker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from being.dataset.landmarks import EYE_CORNERS, INNER_LIPS, MOUTH
from being.errors import BeingError

Picture = NDArray[np.uint8]
Points = NDArray[np.float32]

LEAD = 3  # times the first frame is shown before it counts: the tracker settles over its first frames
STILL = 1e-3  # deviation of the mouth's opening (of the eyes' distance) under which no correlation can be told


@dataclass(frozen=True)
class LipSync:
    """Distances in pixels of the dataset, means over the frames in which the tracker finds the face in both.

    mouth_px : over the 20 mouth landmarks. all_px : over all 68. opening_correlation : of the gap between the inner
    lips, NaN where the filmed mouth does not move. found : share of the frames in which the drawn face is found.
    """

    mouth_px: float
    all_px: float
    opening_correlation: float
    found: float


def compare(blocks: Sequence[tuple[Sequence[Picture], Sequence[Picture]]]) -> LipSync:
    """Compare (filmed, drawn) frames, RGB (H, W, 3), block by block; the frames of a block follow each other in time.

    Raises
    ------
    BeingError
        The tracker is not installed, or finds no face.
    """
    filmed, drawn, found = [], [], []
    for truth, render in blocks:
        if not truth:
            continue
        a, b = track(truth), track(render)
        both = a[1] & b[1]
        filmed.append(a[0][both])
        drawn.append(b[0][both])
        found.append(b[1])
    return of_landmarks(np.concatenate(filmed), np.concatenate(drawn), float(np.concatenate(found).mean()))


def of_landmarks(filmed: Points, drawn: Points, found: float = 1.0) -> LipSync:
    """Lip sync of landmarks (T, 68, 2) of filmed and drawn frames."""
    distance = np.linalg.norm(filmed - drawn, axis=-1)
    a, b = openings(filmed), openings(drawn)
    moves = len(a) > 2 and a.std() > STILL and b.std() > 0
    correlation = float(np.corrcoef(a, b)[0, 1]) if moves else float("nan")
    return LipSync(float(distance[:, MOUTH].mean()), float(distance.mean()), correlation, found)


def openings(landmarks: Points) -> NDArray[np.float32]:
    """Gap between the inner lips over the eyes' distance: (T, 68, 2) -> (T,)."""
    gap = np.linalg.norm(landmarks[:, INNER_LIPS[0]] - landmarks[:, INNER_LIPS[1]], axis=-1)
    eyes = np.linalg.norm(landmarks[:, EYE_CORNERS[0]] - landmarks[:, EYE_CORNERS[1]], axis=-1)
    return np.asarray(gap / np.maximum(eyes, 1e-6), np.float32)


def track(frames: Sequence[Picture]) -> tuple[Points, NDArray[np.bool_]]:
    """The 68 landmarks (T, 68, 2) of frames that follow each other in time, and where the face was found (T,).

    Raises BeingError where the tracker is not installed or finds no face.
    """
    try:
        from being.capture.landmarks.tracking import ibug_68, track_landmarks
    except ImportError as error:
        raise BeingError(f"landmarks are not measured here ({error})") from error
    led = [frames[0]] * LEAD + list(frames)
    seen = track_landmarks(led)
    return ibug_68(seen.points)[LEAD:], seen.found[LEAD:]
