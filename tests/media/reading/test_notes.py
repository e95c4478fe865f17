"""Notes are sentences with seconds, and survive being kept in a file."""

from __future__ import annotations

from being.media.reading.notes import Note, NoteKind, Span, notes_as_json, notes_from_json


def test_a_note_reads_as_a_sentence() -> None:
    note = Note(NoteKind.HOLE, "The sound has holes", (Span(2.0, 1.0), Span(5.5, 0.25)))
    assert str(note) == "The sound has holes: 1.00 s at 2.00 s, 0.25 s at 5.50 s"
    assert note.seconds == 1.25
    many = Note(NoteKind.DAMAGE, "Damaged", tuple(Span(float(i), 0.5) for i in range(10)), "Copy it again")
    assert str(many).endswith("0.50 s at 3.00 s, and 6 more, 5.00 s in all. Copy it again")


def test_notes_come_back_from_json() -> None:
    notes = (Note(NoteKind.TRACK, "Track 2 is heard", remedy="Choose"), Note(NoteKind.HOLE, "x", (Span(1.0, 2.0),)))
    assert notes_from_json(notes_as_json(notes)) == notes
