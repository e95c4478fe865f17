"""The face mesh of every frame: 478 points in pixels, followed from frame to frame.

The backend is named, so another tracker can stand in; the checks on what it found are here and the same for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from being.errors import InputError
from being.progress import Progress

POINTS = 478  # of the mesh, the last ten are the irises
MOST_CROWDED = 0.5  # share of the frames that may show a second face

_JAW = (127, 234, 93, 132, 58, 136, 149, 148, 152, 377, 378, 365, 288, 361, 323, 454, 356)
_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)  # upper edge of the brows
_BROWS_BELOW = (46, 53, 52, 65, 55, 285, 295, 282, 283, 276)  # lower edge of the same
_NOSE = (168, 197, 5, 4, 98, 97, 2, 326, 327)
_EYES = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
_LIPS = (61, 40, 37, 0, 267, 270, 291, 321, 405, 17, 181, 91, 78, 81, 13, 311, 308, 402, 14, 178)
IBUG_68 = _JAW + _BROWS + _NOSE + _EYES + _LIPS  # mesh index of each of the 68 iBUG landmarks


@dataclass(frozen=True)
class Track:
    """The face over T frames.

    Attributes
    ----------
    points : float32 (T, 478, 3), pixels of the frames; x right, y down, z away from the camera, zero at the head's
        middle, in the same unit. Where no face was found: between the neighbouring frames that have one.
    found : bool (T,).
    faces : int (T,), how many faces the frame shows.
    """

    points: NDArray[np.float32]
    found: NDArray[np.bool_]
    faces: NDArray[np.int64]


class FaceTracker(Protocol):
    """A backend: fed frames in order."""

    def __call__(self, frame: NDArray[np.uint8]) -> tuple[NDArray[np.float32] | None, int]:
        """RGB (H, W, 3) -> (points (478, 3) in pixels or None, number of faces seen)."""
        ...

    def close(self) -> None:
        """Free what the tracker holds."""
        ...


def track_landmarks(
    frames: Iterable[NDArray[np.uint8]], backend: str = "mediapipe", progress: Progress | None = None
) -> Track:
    """Follow the one face of a clip.

    Parameters
    ----------
    frames : uint8 RGB (H, W, 3), 25 a second, all of one size; read once, one at a time.
    backend : "mediapipe".

    Raises
    ------
    InputError
        No face at all, two faces in most of the frames; an unknown backend.
    MissingDependencyError
        The backend's package is not installed.
    """
    tracker = _tracker(backend)
    total = len(frames) if isinstance(frames, Sized) else 0
    meshes: list[NDArray[np.float32] | None] = []
    faces: list[int] = []
    try:
        for frame in frames:
            mesh, count = tracker(frame)
            meshes.append(mesh)
            faces.append(count)
            if progress is not None and total:
                progress.update(len(meshes) / total)
    finally:
        tracker.close()
    return checked_track(meshes, faces)


def checked_track(meshes: list[NDArray[np.float32] | None], faces: list[int]) -> Track:
    """What a backend found in T frames as a Track; refuses what cannot be one person's portrait.

    Which frames take part is found later, see `being.capture.cuts`.
    """
    found = np.array([mesh is not None for mesh in meshes], bool)
    if not found.any():
        raise InputError(
            f"No face in any of the {len(meshes)} frames",
            "Film one person's face from the front, upright, in good light",
        )
    crowded = float(np.mean(np.array(faces) > 1))
    if crowded > MOST_CROWDED:
        raise InputError(
            f"Two faces or more in {crowded:.0%} of the frames",
            "Only the person to clone may be in the picture: crop or film again",
        )
    seen = np.flatnonzero(found)
    known = np.stack([mesh for mesh in meshes if mesh is not None]).astype(np.float32)
    points = known if found.all() else _interpolated(known, seen, len(meshes))
    return Track(points, found, np.array(faces, np.int64))


def ibug_68(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mesh points (T, 478, 3) -> the 68 iBUG landmarks (T, 68, 2), pixels.

    The mesh's brow rows run along the upper edge of the brows; iBUG's along their middle, so the two edges are
    averaged.
    """
    marks = points[:, IBUG_68, :2].copy()
    marks[:, 17:27] = (marks[:, 17:27] + points[:, _BROWS_BELOW, :2]) / 2
    return marks


def _interpolated(known: NDArray[np.float32], seen: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Rows `known` at frames `seen` -> rows for all `count` frames."""
    times = np.arange(count)
    after = np.clip(np.searchsorted(seen, times), 0, len(seen) - 1)
    before = np.where(seen[after] > times, np.maximum(after - 1, 0), after)
    gap = np.maximum(seen[after] - seen[before], 1)
    share = np.clip((times - seen[before]) / gap, 0, 1).astype(np.float32)[:, None, None]
    return (1 - share) * known[before] + share * known[after]


def _tracker(backend: str) -> FaceTracker:
    if backend == "mediapipe":
        from being.capture.landmarks.mediapipe import MediapipeTracker

        return MediapipeTracker()
    raise InputError(f"landmark backend is {backend!r}", "Known: mediapipe")
