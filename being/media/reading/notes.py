"""What a reader repaired or chose while it read a file: typed, with the seconds, told to the person at the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

LISTED = 4  # spans that a note names one by one


class NoteKind(StrEnum):
    """What a note is about."""

    HOLE = "hole"  # time stamps jump ahead: silence, or a picture held
    OVERLAP = "overlap"  # time stamps step back: what came twice is left out
    JOINED = "joined"  # the clock starts again midway: it is carried on
    LATE = "late"  # one stream begins after the other
    DAMAGE = "damage"  # packets that cannot be decoded
    CUT_OFF = "cut off"  # the file ends before it says it does
    TRACK = "track"  # which of several tracks was taken
    CHANNELS = "channels"  # how channels were mixed
    LEVEL = "level"  # the sound was scaled
    PARTS = "parts"  # the file is several files end to end
    COLOUR = "colour"  # colours were guessed, converted or tone-mapped
    FIELDS = "fields"  # interlaced pictures were deinterlaced
    CONTENT = "content"  # pictures that show something else were left out


@dataclass(frozen=True)
class Span:
    """A stretch of the file: where it begins on its repaired clock, and how long it is, seconds."""

    start_s: float
    seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:.2f} s at {self.start_s:.2f} s"


@dataclass(frozen=True)
class Note:
    """One thing a person should know about a file that was read.

    Attributes
    ----------
    kind : see NoteKind.
    text : what was found and what was done about it, without a full stop.
    spans : where, if it is not the whole file.
    remedy : what a person could do to have it better; "" where there is nothing to do.
    """

    kind: NoteKind
    text: str
    spans: tuple[Span, ...] = ()
    remedy: str = ""

    @property
    def seconds(self) -> float:
        """Of all spans together."""
        return sum(span.seconds for span in self.spans)

    def __str__(self) -> str:
        said = f"{self.text}: {listed(self.spans)}" if self.spans else self.text
        return f"{said}. {self.remedy}" if self.remedy else said


def listed(spans: Sequence[Span]) -> str:
    """The first few spans, and how much the others come to."""
    said = ", ".join(map(str, spans[:LISTED]))
    if len(spans) <= LISTED:
        return said
    return f"{said}, and {len(spans) - LISTED} more, {sum(span.seconds for span in spans):.2f} s in all"


def notes_as_json(notes: Sequence[Note]) -> str:
    """To keep notes in a file."""
    return json.dumps([asdict(note) for note in notes])


def notes_from_json(text: str) -> tuple[Note, ...]:
    """What `notes_as_json` wrote."""
    return tuple(
        Note(NoteKind(note["kind"]), note["text"], tuple(Span(**span) for span in note["spans"]), note["remedy"])
        for note in json.loads(text)
    )
