"""Rendered frames in host memory, by column: what the engine answers and what crosses processes. No PyTorch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

import numpy as np
import numpy.typing as npt

from being.inference.frames import Drive, FaceBox, FrameRecord, PixelFormat


@dataclass(frozen=True, eq=False)
class FrameInfo:
    """Whose frames these are, by column of B frames.

    Attributes
    ----------
    avatars, sessions : (B,) ids.
    generations, indices : (B,) int64.
    head_poses : (B, 3, 4) float32.
    face_boxes : (B, 4) float32, NaN where the face is out of sight; None where no box was asked for.
    strengths : (B,) float32 in [0, 1], how much the refiner is to change each.
    """

    avatars: tuple[str, ...]
    sessions: tuple[str, ...]
    generations: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]
    head_poses: npt.NDArray[np.float32]
    face_boxes: npt.NDArray[np.float32] | None = None
    strengths: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    def __post_init__(self) -> None:
        if len(self.strengths) != len(self.avatars):
            object.__setattr__(self, "strengths", np.zeros(len(self.avatars), np.float32))

    def __len__(self) -> int:
        return len(self.avatars)

    @classmethod
    def of(cls, drives: Sequence[Drive]) -> FrameInfo:
        poses = np.empty((len(drives), 3, 4), np.float32)
        for row, drive in enumerate(drives):  # of a drive that was refused even the pose may be anything
            poses[row] = drive.head_pose if np.shape(drive.head_pose) == (3, 4) else np.nan
        return cls(
            tuple(drive.avatar for drive in drives),
            tuple(drive.session for drive in drives),
            np.array([drive.generation for drive in drives], np.int64),
            np.array([drive.index for drive in drives], np.int64),
            poses,
            strengths=np.array([drive.refine for drive in drives], np.float32),
        )

    def take(self, rows: Sequence[int]) -> FrameInfo:
        """The columns of these frames, in this order."""
        return FrameInfo(
            tuple(self.avatars[row] for row in rows),
            tuple(self.sessions[row] for row in rows),
            self.generations[list(rows)],
            self.indices[list(rows)],
            self.head_poses[list(rows)],
            None if self.face_boxes is None else self.face_boxes[list(rows)],
            self.strengths[list(rows)],
        )

    def joined(self, other: FrameInfo) -> FrameInfo:
        """These frames, then the others."""
        boxes = None
        if self.face_boxes is not None or other.face_boxes is not None:
            boxes = np.concatenate([_boxes(self), _boxes(other)])
        return FrameInfo(
            self.avatars + other.avatars,
            self.sessions + other.sessions,
            np.concatenate([self.generations, other.generations]),
            np.concatenate([self.indices, other.indices]),
            np.concatenate([self.head_poses, other.head_poses]),
            boxes,
            np.concatenate([self.strengths, other.strengths]),
        )

    def face_box(self, row: int) -> FaceBox | None:
        """The box of one frame; None where there is none."""
        if self.face_boxes is None or np.isnan(self.face_boxes[row, 0]):
            return None
        x0, y0, x1, y1 = self.face_boxes[row].tolist()
        return x0, y0, x1, y1


def _boxes(info: FrameInfo) -> npt.NDArray[np.float32]:
    return info.face_boxes if info.face_boxes is not None else np.full((len(info), 4), np.nan, np.float32)


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of one size and pixel format.

    Attributes
    ----------
    rows : (b,) which frames of the whole these are.
    pixel_format : RGB or YUV420.
    pixels : (b, H, W, 3) or (b, 3 H / 2, W) uint8.
    alpha : (b, H, W) uint8, or None. depth : (b, H, W) float32, or None.
    """

    rows: tuple[int, ...]
    pixel_format: PixelFormat
    pixels: npt.NDArray[np.uint8]
    alpha: npt.NDArray[np.uint8] | None = None
    depth: npt.NDArray[np.float32] | None = None

    def take(self, places: Sequence[int], rows: Sequence[int]) -> Pictures:
        """The pictures at these places, as frames `rows` of another whole; a view where they stand together."""
        first = places[0]
        together = list(places) == list(range(first, first + len(places)))
        at = slice(first, first + len(places)) if together else list(places)
        alpha = None if self.alpha is None else self.alpha[at]
        depth = None if self.depth is None else self.depth[at]
        return Pictures(tuple(rows), self.pixel_format, self.pixels[at], alpha, depth)


@dataclass(frozen=True, eq=False)
class RenderedFrames:
    """N frames, or why some of them could not be drawn.

    Attributes
    ----------
    info : of all N.
    pictures : of those that were drawn, by size and pixel format.
    errors : one line for each of the others, by row.
    """

    info: FrameInfo
    pictures: tuple[Pictures, ...] = ()
    errors: dict[int, str] | None = None

    def __len__(self) -> int:
        return len(self.info)

    def records(self) -> list[FrameRecord]:
        """The frames one by one, in order; pictures are views."""
        records = [self._record(row) for row in range(len(self))]
        for part in self.pictures:
            for place, row in enumerate(part.rows):
                records[row].image = part.pixels[place]
                records[row].alpha = None if part.alpha is None else part.alpha[place]
                records[row].depth = None if part.depth is None else part.depth[place]
                records[row].pixel_format = part.pixel_format
                records[row].error = None
        return records

    def _record(self, row: int) -> FrameRecord:
        info = self.info
        return FrameRecord(
            int(info.indices[row]),
            int(info.generations[row]),
            None,
            None,
            None,
            info.face_box(row),
            info.head_poses[row],
            (self.errors or {}).get(row, "the frame was not drawn"),
            info.avatars[row],
            info.sessions[row],
        )

    def take(self, rows: Sequence[int]) -> RenderedFrames:
        """These frames alone, in this order; pictures that stand together are not copied."""
        at = {row: place for place, row in enumerate(rows)}
        pictures = []
        for part in self.pictures:
            kept = [place for place, row in enumerate(part.rows) if row in at]
            if kept:
                pictures.append(part.take(kept, [at[part.rows[place]] for place in kept]))
        errors = {at[row]: error for row, error in (self.errors or {}).items() if row in at}
        return RenderedFrames(self.info.take(rows), tuple(pictures), errors)

    def placed(self, rows: Sequence[int], info: FrameInfo, errors: dict[int, str]) -> RenderedFrames:
        """These frames as `rows` of a larger whole, whose other frames could not be drawn."""
        if self.info.face_boxes is not None:
            boxes = np.full((len(info), 4), np.nan, np.float32)
            boxes[list(rows)] = self.info.face_boxes
            info = replace(info, face_boxes=boxes)
        pictures = (replace(part, rows=tuple(rows[row] for row in part.rows)) for part in self.pictures)
        own = {rows[row]: error for row, error in (self.errors or {}).items()}
        return RenderedFrames(info, tuple(pictures), errors | own)


def joined(parts: Sequence[RenderedFrames]) -> RenderedFrames:
    """All frames of several answers, in order."""
    return reduce(_join, parts) if parts else RenderedFrames(FrameInfo.of([]))


def _join(first: RenderedFrames, second: RenderedFrames) -> RenderedFrames:
    start = len(first)
    moved = (replace(part, rows=tuple(start + row for row in part.rows)) for part in second.pictures)
    errors = (first.errors or {}) | {start + row: error for row, error in (second.errors or {}).items()}
    return RenderedFrames(first.info.joined(second.info), (*first.pictures, *moved), errors)
