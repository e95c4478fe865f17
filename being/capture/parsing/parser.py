"""Labels for every frame of a clip: background, head, neck, torso.

A parser gives each frame's class shares at a working resolution; here they are averaged along the motion of the
picture, forwards and backwards, cleaned of specks, and drawn to the edges of the full picture. The clip is worked
through in blocks with a few frames of lead on either side, so memory does not grow with its length and a run that was
stopped goes on at a block's start with the very same result.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from being.capture.parsing.segformer import DEFAULT_WEIGHTS
from being.errors import InputError, MissingDependencyError

BACKENDS = ("builtin", "segformer")
BLOCK = 24  # frames labelled together; a run resumes at a multiple of it
LEAD = 6  # frames before and after a block that its averages may feel: 0.6^6 is 5%
WORKING_SIZE = 256  # longer side of the working resolution, pixels
MOST_KEYS = 24  # frames a parser learns the clip from

Picture = NDArray[np.uint8]


class Parser(Protocol):
    """A way to tell parts apart. `shares` is called from several threads."""

    def learn(self, images: Sequence[Picture], faces: Sequence[Any]) -> list[Picture]:
        """Learn what the clip looks like from a few frames; return their labels (h, w)."""
        ...

    def shares(self, image: Picture, face: Any, index: int) -> NDArray[np.float32]:
        """Shares (h, w, 4) of the classes at `face.shape` for RGB (H, W, 3), the frame numbered `index`."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class Meshes(Protocol):
    """Of a `being.capture.landmarks.tracking.Track`: face points (T, 478, 3) in pixels of the frames."""

    @property
    def points(self) -> NDArray[np.float32]: ...


def open_parser(backend: str) -> Parser:
    """A parser by name: "builtin", "segformer", or "segformer:FOLDER" (also a name on the hub).

    Raises InputError for an unknown name, MissingDependencyError where a package is not installed.
    """
    name, _, weights = backend.partition(":")
    if name not in BACKENDS or (weights and name == "builtin"):
        raise InputError(f"there is no parser {backend!r}", f"Choose one of {', '.join(BACKENDS)}, or segformer:FOLDER")
    _require_opencv()
    if name == "segformer":
        from being.capture.parsing.segformer import SegformerParser

        return SegformerParser(weights or DEFAULT_WEIGHTS)
    from being.capture.parsing.builtin import BuiltinParser

    return BuiltinParser()


def _require_opencv() -> None:
    try:
        import cv2
    except ImportError as error:
        raise MissingDependencyError("opencv-contrib-python", "clone", "Finding the person in the video") from error
    if not hasattr(cv2, "ximgproc"):
        raise MissingDependencyError("opencv-contrib-python", "clone", "Finding the person's outline")


def working_shape(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the working resolution."""
    scale = min(1.0, WORKING_SIZE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


class ClipParser:
    """A clip that can be asked for its labels.

    Parameters
    ----------
    frames : the pictures, RGB (H, W, 3), by number or re-iterable. track : with `points` (T, 478, 3) in their pixels,
        finite in every frame. parser : see `open_parser`. workers : threads.
    """

    def __init__(self, frames: Iterable[Picture], track: Meshes, parser: Parser, workers: int | None = None) -> None:
        self._frames = frames
        self._points = np.asarray(track.points, np.float32)
        if not np.isfinite(self._points).all():
            raise InputError("the face points hold a hole", "Fill frames without a face before parsing")
        self._parser = parser
        self._workers = workers or os.cpu_count() or 1
        count = len(self._points)
        self.keys = sorted({round(x) for x in np.linspace(0, count - 1, min(MOST_KEYS, max(2, count // 4), count))})
        self._shape: tuple[int, int] = (0, 0)

    def learn(self) -> tuple[list[Picture], list[Picture]]:
        """Let the parser see the key frames (numbers in `keys`): their pictures and first labels, working size."""
        from being.capture.parsing.builtin import working_image

        wanted = set(self.keys)
        if hasattr(self._frames, "__getitem__"):
            images = [self._frames[i] for i in self.keys]
        else:
            images = [image for i, image in enumerate(self._frames) if i in wanted]
        self._shape = working_shape(*images[0].shape[:2])
        faces = [self._face(index, image) for index, image in zip(self.keys, images, strict=True)]
        with _single_threaded_opencv():
            labels = self._parser.learn(images, faces)
        return [working_image(image, self._shape) for image in images], labels

    def labels(self, first: int = 0) -> Iterator[Picture]:
        """Labels (H, W) of every frame from number `first` on, a multiple of BLOCK; `learn` comes before."""
        if first % BLOCK:
            raise ValueError(f"labels start at a multiple of {BLOCK}, not at {first}")
        with ThreadPoolExecutor(self._workers) as pool:
            window: dict[int, _Frame] = {}
            pictures = _numbered_from(self._frames, max(0, first - LEAD), len(self._points))
            for start in range(first, len(self._points), BLOCK):
                stop = min(start + BLOCK, len(self._points))
                with _single_threaded_opencv():
                    window = {i: frame for i, frame in window.items() if i >= start - LEAD}
                    last = min(stop + LEAD, len(self._points))
                    new = [each for each in islice(pictures, last - max(window, default=_before(start)) - 1)]
                    for frame in pool.map(self._look, new):
                        window[frame.index] = frame
                    block = list(pool.map(lambda each: self._finish(*each), self._averaged(pool, window, start, stop)))
                yield from block

    def _face(self, index: int, image: Picture) -> Any:
        from being.capture.parsing.face_regions import FaceRegions

        scale = np.array([self._shape[1] / image.shape[1], self._shape[0] / image.shape[0]], np.float32)
        return FaceRegions(self._points[index, :, :2] * scale, self._shape)

    def _look(self, numbered: tuple[int, Picture]) -> _Frame:
        import cv2

        from being.capture.parsing.builtin import working_image

        index, image = numbered
        face = self._face(index, image)
        small = working_image(image, self._shape)
        gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        return _Frame(index, image, gray, face, self._parser.shares(image, face, index))

    def _averaged(
        self, pool: ThreadPoolExecutor, window: dict[int, _Frame], start: int, stop: int
    ) -> list[tuple[_Frame, NDArray[np.float32]]]:
        """The frames of a block with their shares, averaged from both sides."""
        from being.capture.parsing.label_smoothing import average_along_motion

        def sweep(numbers: list[int]) -> dict[int, NDArray[np.float32]]:
            frames = [window[i] for i in numbers]
            averaged = average_along_motion([f.gray for f in frames], [f.shares for f in frames])
            return dict(zip(numbers, averaged, strict=True))

        onward = pool.submit(sweep, [i for i in sorted(window) if i < stop])
        back = pool.submit(sweep, [i for i in sorted(window, reverse=True) if i >= start])
        ahead, behind = onward.result(), back.result()
        return [(window[i], (ahead[i] + behind[i]) / 2) for i in range(start, stop)]

    @staticmethod
    def _finish(frame: _Frame, shares: NDArray[np.float32]) -> Picture:
        from being.capture.parsing.label_smoothing import sharpen, with_clean_labels

        return sharpen(with_clean_labels(shares, frame.face.hull), frame.gray, frame.image)


@dataclass(frozen=True)
class _Frame:
    """A frame inside the window: the picture, its grey at working size, the face there, the shares there."""

    index: int
    image: Picture
    gray: Picture
    face: Any
    shares: NDArray[np.float32]


def _before(start: int) -> int:
    """The number before the first frame of the window of a block that starts at `start`."""
    return max(0, start - LEAD) - 1


def _numbered_from(frames: Iterable[Picture], first: int, count: int) -> Iterator[tuple[int, Picture]]:
    if hasattr(frames, "__getitem__"):
        yield from ((i, frames[i]) for i in range(first, count))
        return
    yield from ((i, image) for i, image in enumerate(frames) if first <= i < count)


@contextmanager
def _single_threaded_opencv() -> Iterator[None]:
    """Frames are spread over threads already."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
