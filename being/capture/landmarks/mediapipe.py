"""The mediapipe backend of `track_landmarks`, and the triangles of its mesh. Its models ship inside the package."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from being.errors import MissingDependencyError

GREETING = 3  # frames until mediapipe has said all it has to say
COUNT_EVERY = 12  # frames between two counts of the faces in the whole picture
LONGEST_SIDE = 1920  # pixels; a larger picture is halved first: the models look at 192 pixels of face
SECOND_FACE = 0.4  # of the largest face's side: smaller ones (a poster, a passer-by far away) do not count
SURE = 0.6  # confidence of a detection that counts


class MediapipeTracker:
    """FaceMesh in tracking mode, and a face count every COUNT_EVERY frames.

    FaceMesh distorts pictures that are not square, so they are padded with black on the right or below.
    """

    def __init__(self) -> None:
        solutions = _solutions()
        with quiet_stderr():
            self._mesh: Any = solutions.face_mesh.FaceMesh(
                static_image_mode=False, max_num_faces=1, refine_landmarks=True
            )
            self._detector: Any = solutions.face_detection.FaceDetection(
                model_selection=1, min_detection_confidence=SURE
            )
            nothing = np.zeros((64, 64, 3), np.uint8)  # the graphs start in threads of their own: wait for them
            self._mesh.process(nothing)
            self._detector.process(nothing)
        self._canvas: NDArray[np.uint8] | None = None
        self._index = 0
        self._faces = 0

    def __call__(self, frame: NDArray[np.uint8]) -> tuple[NDArray[np.float32] | None, int]:
        """RGB (H, W, 3) -> (points (478, 3) in its pixels or None, faces)."""
        square, scale = self._squared(frame)
        with quiet_stderr() if self._index < GREETING else contextlib.nullcontext():
            if self._index % COUNT_EVERY == 0:
                self._faces = _count(self._detector.process(square).detections)
            result = self._mesh.process(square).multi_face_landmarks
        self._index += 1
        if not result:
            return None, self._faces
        points = np.array([(p.x, p.y, p.z) for p in result[0].landmark], np.float32)
        return points * np.float32(len(square) * scale), max(self._faces, 1)

    def close(self) -> None:
        """Stop mediapipe's graphs."""
        self._mesh.close()
        self._detector.close()

    def _squared(self, frame: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
        """(the square picture for the models, how many pixels of the frame one of its pixels covers)."""
        scale = -(-max(frame.shape[:2]) // LONGEST_SIDE)
        if scale > 1:
            frame = np.asarray(Image.fromarray(frame).reduce(scale))
        height, width = frame.shape[:2]
        if height == width:
            return np.ascontiguousarray(frame), scale
        side = max(height, width)
        if self._canvas is None or len(self._canvas) != side:
            self._canvas = np.zeros((side, side, 3), np.uint8)
        self._canvas[:height, :width] = frame
        return self._canvas, scale


def mesh_triangles() -> NDArray[np.int64]:
    """The mesh's triangles (854, 3) of point numbers under 468, from mediapipe's list of their edges.

    They are the edges' three-cycles; two of these lie over three finer triangles each, which does no harm.
    """
    beside: dict[int, set[int]] = {}
    for start, end in _solutions().face_mesh_connections.FACEMESH_TESSELATION:
        beside.setdefault(start, set()).add(end)
        beside.setdefault(end, set()).add(start)
    return np.array(
        sorted((a, b, c) for a in beside for b in beside[a] if a < b for c in beside[a] & beside[b] if b < c)
    )


def _count(detections: Any) -> int:
    sides = [d.location_data.relative_bounding_box.width for d in detections or ()]
    return sum(side >= SECOND_FACE * max(sides) for side in sides)


def _solutions() -> Any:
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        from mediapipe.python import solutions
        from mediapipe.python.solutions import face_detection, face_mesh, face_mesh_connections  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("mediapipe", "clone", "Finding the face") from error
    return solutions


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """mediapipe's C++ greets on stderr, across any progress bar, before its log level can be set."""
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, ValueError, AttributeError):  # no stderr to spare
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
