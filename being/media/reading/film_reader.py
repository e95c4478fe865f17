"""Any film as upright RGB pictures at exactly 25 a second, one at a time, placed by their time stamps.

Opening reads the packets, not the pictures (`being.media.reading.film_index`). Iterating decodes; each output instant
k/25 s shows the picture whose time stamp is nearest, so variable frame rates, holes and 24 to 60 pictures a second all
become 25, on a clock that is carried on where films were joined. What cannot be decoded is stepped over and the
picture before it stands. Memory holds a few pictures, whatever the film's length.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from being.constants import FPS
from being.errors import InputError
from being.media.reading.colour import coding_of, is_dolby_alone, to_rgb
from being.media.reading.combing import undeclared_fields
from being.media.reading.file_clock import FileClock
from being.media.reading.film_decoding import HOLE_S, Decoding, decoded, spans_of, with_holes_alone
from being.media.reading.film_index import FilmIndex, read_index, require_pictures
from being.media.reading.input_container import AGAIN
from being.media.reading.interlace import FieldOrder
from being.media.reading.notes import Note, NoteKind

if TYPE_CHECKING:
    import av

MISSING_S = 0.5  # a stated duration that exceeds what the file holds by more than this means a cut-off file
LONGEST_S = 86_400.0  # of a film, unless the caller says otherwise
LATE_S = 0.1  # a later first picture is told
LEAST_DECODED = 0.5  # share of a film below which it is refused
MOST_PIXELS = 8192 * 4608  # of a picture; more is no film of a person, and would fill the memory
LARGE_PIXELS = 2560 * 1440  # a larger picture is decoded by few threads, each of which holds some
LARGE_THREADS = 2

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Film:
    """An opened film.

    Attributes
    ----------
    path : the file.
    width, height : pixels of the pictures that iterating yields, upright.
    frames : how many it yields, at 25 a second. duration_s : frames / 25.
    rate : pictures a second as filmed, on average.
    start_s : when frame 0 is shown, seconds on the file's clock; from_s : seconds after the film's first picture.
    clock : of the file.
    fields : which comes first, where pictures are interlaced and do not say so.
    notes : what a person should know about the file; usually empty. `told` adds what only decoding shows.
    last : what the latest pass over it came to; None before the first.
    """

    path: Path
    width: int
    height: int
    frames: int
    rate: float
    start_s: float
    notes: tuple[Note, ...]
    index: FilmIndex
    orientation: tuple[bool, bool, bool] = (False, False, False)
    from_s: float = 0.0
    fields: FieldOrder | None = None
    square: tuple[int, int] = (0, 0)  # size after undoing oblong pixels, before turning upright
    _passes: list[Decoding] = field(default_factory=list, compare=False)

    @property
    def duration_s(self) -> float:
        return self.frames / FPS

    @property
    def clock(self) -> FileClock:
        return self.index.clock

    @property
    def last(self) -> Decoding | None:
        return self._passes[-1] if self._passes else None

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator[Frame]:
        """`frames` pictures, uint8 RGB (height, width, 3). Raises InputError where less than half can be decoded."""
        return (make() for make in self.later())

    def later(self, finish: Callable[[Frame], Frame] | None = None) -> Iterator[Callable[[], Frame]]:
        """The same pictures, each made when it is called for, on whatever thread: converting costs more than decoding.

        A picture that is shown several times is one callable and made once. finish : what else is done to it, a crop.
        Raises as `__iter__`.
        """
        state = Decoding(np.full(self.frames, np.inf, np.float32))
        shown, large = 0, self.width * self.height > LARGE_PIXELS
        last: av.VideoFrame | None = None
        last_time = 0.0
        threads = LARGE_THREADS if large else 0
        for frame, time in decoded(self.path, self.index, self.start_s, state, threads, self.fields):
            if last is not None:
                until = min(self.frames, _instants_before((last_time + time) / 2 - self.start_s))
                if until > shown:
                    state.show(last, last_time - self.start_s, shown, until)
                    yield from repeat(self._maker(last, finish), until - shown)
                    shown = until
            last, last_time = frame, time
            if shown >= self.frames:
                break
        if last is not None and shown < self.frames:
            state.show(last, last_time - self.start_s, shown, self.frames)
            yield from repeat(self._maker(last, finish), self.frames - shown)
        decodes = float(np.mean(state.stale_s <= max(HOLE_S, 2 / self.rate)))
        if last is None or decodes < LEAST_DECODED:
            raise InputError(f"{self.path} is damaged: {decodes:.0%} of its pictures can be decoded", AGAIN)
        self.restore(with_holes_alone(state))

    def restore(self, state: Decoding) -> None:
        """Take what an earlier pass over the same film came to."""
        self._passes[:] = [state]

    def told(self) -> tuple[Note, ...]:
        """`notes`, and what the latest pass found: damage, holes, interlaced pictures."""
        state = self.last
        if state is None:
            return self.notes
        out = list(self.notes)
        damaged = np.isinf(state.stale_s)
        if state.failed or damaged.any():
            text = f"{state.failed} of {len(self.index.shown_s)} packets of pictures cannot be decoded"
            spans = spans_of(state.missing)
            out.append(Note(NoteKind.DAMAGE, text if state.failed else "Pictures are damaged", spans))
        elif state.missing.any():
            out.append(Note(NoteKind.HOLE, "No pictures, the one before stands", spans_of(state.missing)))
        if self.fields:
            text = "The file says that its pictures are progressive, and they are interlaced: they were deinterlaced"
            out.append(Note(NoteKind.FIELDS, text))
        elif state.interlaced:
            out.append(Note(NoteKind.FIELDS, "Interlaced pictures were deinterlaced"))
        if state.resized:
            out.append(Note(NoteKind.COLOUR, f"Pictures change their size: scaled to {self.width}x{self.height}"))
        return tuple(out)

    def _maker(self, frame: av.VideoFrame, finish: Callable[[Frame], Frame] | None) -> Callable[[], Frame]:
        """Makes the picture once, however often it is shown: FFmpeg's converter is not for two threads at a time."""
        lock = threading.Lock()
        made: list[Frame] = []

        def make() -> Frame:
            with lock:
                if not made:
                    picture = np.ascontiguousarray(_upright(to_rgb(frame, *self.square), *self.orientation))
                    made.append(finish(picture) if finish is not None else picture)
            return made[0]

        return make


def open_film(
    path: str | Path, start_s: float | None = None, end_s: float | None = None, longest_s: float = LONGEST_S
) -> Film:
    """Check a film and prepare to read it, or the part from `start_s` to `end_s`, seconds after its first picture.

    Raises
    ------
    InputError
        Not there, not a film, no picture can be decoded, less than half of it is there, longer than `longest_s`,
        colours that cannot be read, or nothing between start and end.
    """
    path = Path(path)
    index = read_index(path)
    require_pictures(path, index)
    stamps = index.stamps
    first, begins = _first_frame(path, index)
    _require_size(path, first)
    stamps = np.append(begins, stamps[stamps > begins])
    each = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 1 / FPS
    held = float(stamps[-1] - stamps[0] + each)
    notes = list(index.clock.notes(begins))
    if not index.clock.joints and index.stated_s > index.held_s + max(MISSING_S, 0.02 * index.held_s):
        said = f"it says {index.stated_s:.1f} s and holds {index.held_s:.1f} s"
        if index.held_s < LEAST_DECODED * index.stated_s:
            raise InputError(f"{path} is cut off: {said}", AGAIN)
        notes.append(Note(NoteKind.CUT_OFF, f"The file is cut off: {said}", remedy=AGAIN))
    start, end = part_of(path, held, start_s, end_s)
    if end - start > longest_s:
        raise InputError(
            f"{path} lasts {end - start:.0f} s, the limit is {longest_s:.0f} s", "Give a part of it: --start, --end"
        )
    sound = [index.clock.begins_s(other) for other in index.clock.stretches if other != index.stream]
    if sound and start == 0 and begins - min(sound) > LATE_S:
        text = f"The first picture comes {begins - min(sound):.2f} s after the sound: what is heard before is left out"
        notes.append(Note(NoteKind.LATE, text))
    if is_dolby_alone(first, index.tag):
        raise InputError(
            f"{path} is Dolby Vision whose colours no other display can show (profile 5)",
            "Convert it to SDR, HDR10 or HLG first: docs/capture.md says how",
        )
    coding = coding_of(first)
    if coding is not None:
        notes.append(Note(NoteKind.COLOUR, f"{coding} colours were converted to those of a standard display (BT.709)"))
    orientation = _orientation(first)
    square = _square_pixels(first, index.pixel_aspect)
    width, height = square[::-1] if orientation[0] else square
    return Film(
        path=path,
        width=width,
        height=height,
        frames=max(1, round((end - start) * FPS)),
        rate=len(stamps) / held,
        start_s=begins + start,
        notes=tuple(notes),
        index=index,
        orientation=orientation,
        from_s=start,
        fields=undeclared_fields(path, index, first, begins + start, begins + end),
        square=square,
    )


def part_of(path: Path, held: float, start_s: float | None, end_s: float | None) -> tuple[float, float]:
    """The part that is asked for of a film of `held` seconds."""
    start, end = start_s or 0.0, held if end_s is None else min(end_s, held)
    if not 0 <= start < held:
        raise InputError(f"--start is {start:g} s, {path} lasts {held:.1f} s", "Give seconds within the film")
    if end <= start:
        raise InputError(f"--end ({end:g} s) is not after --start ({start:g} s)", "Give seconds or minutes:seconds")
    return start, end


def _instants_before(seconds: float) -> int:
    """How many of the instants 0, 1/25, 2/25 ... s lie before a time."""
    return max(0, int(np.ceil(seconds * FPS - 1e-6)))


def _first_frame(path: Path, index: FilmIndex) -> tuple[av.VideoFrame, float]:
    """The first picture that can be decoded, and when it is shown."""
    state = Decoding(np.zeros(0, np.float32))
    for frame, time in decoded(path, index, -np.inf, state, threads=1):
        return frame, time
    raise InputError(f"The pictures of {path} cannot be decoded", AGAIN)


def _require_size(path: Path, frame: av.VideoFrame) -> None:
    if frame.width * frame.height > MOST_PIXELS:
        raise InputError(
            f"{path} has pictures of {frame.width}x{frame.height} pixels", "Scale it down: 1920x1080 is plenty"
        )


def _square_pixels(frame: av.VideoFrame, aspect: float) -> tuple[int, int]:
    """(width, height) with square pixels, before turning upright."""
    return (round(frame.width * aspect / 2) * 2 if abs(aspect - 1) > 0.01 else frame.width), frame.height


def _orientation(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """(transpose, mirror columns, mirror rows) that turn a decoded frame upright, from its display matrix."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return False, False, False
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data)[:36])  # x' = a x + c y, y' = b x + d y
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, a < 0, d < 0
    return True, c < 0, b < 0


def _upright(picture: Frame, transpose: bool, mirror_columns: bool, mirror_rows: bool) -> Frame:
    """A view, nothing is copied."""
    if transpose:
        picture = picture.transpose(1, 0, 2)
    return picture[:: -1 if mirror_rows else 1, :: -1 if mirror_columns else 1]
