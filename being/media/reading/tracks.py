"""Which of a file's sound tracks is heard: the one asked for, the default one, or the first that is not silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from being.errors import InputError
from being.media.reading.notes import Note, NoteKind

if TYPE_CHECKING:
    import av

SILENT_PEAK = 1e-4  # a track that never exceeds this is as good as none


@dataclass(frozen=True)
class Track:
    """One sound track, numbered from 1 as people count."""

    number: int
    index: int  # of the stream in its container
    codec: str
    channels: int
    language: str
    title: str
    default: bool
    special: bool  # commentary, or made for people who do not see or hear well
    decodable: bool

    def __str__(self) -> str:
        shape = {0: "", 1: "mono", 2: "stereo"}.get(self.channels, f"{self.channels} channels")
        said = [self.language, self.title, self.codec.upper(), shape, "default" if self.default else ""]
        return f"track {self.number} ({', '.join(part for part in said if part)})"


def list_tracks(container: av.container.InputContainer) -> list[Track]:
    """All sound tracks, in the order of the file."""
    return [_track(number, stream) for number, stream in enumerate(container.streams.audio, start=1)]


def order_tracks(name: str, tracks: Sequence[Track], wanted: int | None) -> list[Track]:
    """The tracks to try, best first: the first of them that is not silent is taken.

    Raises
    ------
    InputError
        There is no sound, no such track, or nothing here decodes it.
    """
    if not tracks:
        raise InputError(f"{name} holds no sound", "Give a sound or video file that plays in a media player")
    if wanted is not None:
        if not 1 <= wanted <= len(tracks):
            held = "one sound track" if len(tracks) == 1 else f"{len(tracks)} sound tracks"
            raise InputError(f"{name} has {held}, there is no track {wanted}", f"Choose of {_list(tracks)}")
        tracks = [tracks[wanted - 1]]
    able = [track for track in tracks if track.decodable]
    if not able:
        raise InputError(f"{name}: no decoder for its sound, {_list(tracks)}", "Convert it to WAV or MP3 first")
    return sorted(able, key=lambda track: (track.special, not track.default, track.number))


def track_note(tracks: Sequence[Track], taken: Track, silent: Sequence[Track], wanted: int | None) -> Note | None:
    """What is said about the choice; nothing where there was none."""
    if len(tracks) < 2:
        return None
    text = f"{taken} of {len(tracks)} is heard"
    if silent:
        text += ", " + " and ".join(f"track {track.number}" for track in silent) + " is silent"
    others = [track for track in tracks if track is not taken and track not in silent]
    remedy = "" if wanted is not None or not others else f"--audio-track N chooses another: {_list(others)}"
    return Note(NoteKind.TRACK, text[0].upper() + text[1:], remedy=remedy)


def _list(tracks: Sequence[Track]) -> str:
    return ", ".join(map(str, tracks[:8])) + (", ..." if len(tracks) > 8 else "")


def _track(number: int, stream: Any) -> Track:
    marks = stream.disposition
    kind = marks.__class__
    special = kind.comment | kind.hearing_impaired | kind.visual_impaired | kind.dub
    context = stream.codec_context
    tags = {key.lower(): " ".join(str(value).split())[:60] for key, value in stream.metadata.items()}
    language = tags.get("language", "")
    return Track(
        number=number,
        index=stream.index,
        codec=context.name if context is not None else "unknown codec",
        channels=getattr(context, "channels", 0) or 0,
        language="" if language in ("und", "unk", "mul") else language,
        title=tags.get("title", ""),
        default=bool(marks & kind.default),
        special=bool(marks & special),
        decodable=context is not None,
    )
