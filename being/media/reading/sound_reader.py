"""The sound of any file, as people hear it and on the clock of its pictures: for render, speak and capture alike.

Two passes, packet by packet with PyAV. The first decodes to know (`sound_scan`): which track is heard, where time
stamps have holes, what is damaged, whether channels cancel. The second decodes to give (`sound_file`): silence in the
holes, channels mixed as players mix them, 16 kHz mono for the model and 48 kHz for playback.
"""

from __future__ import annotations

import numpy as np

from being.errors import InputError
from being.media.reading.downmix import Levels
from being.media.reading.input_container import Source, moving_pictures, name_of
from being.media.reading.notes import Note
from being.media.reading.several_files import FilePlace, find_places
from being.media.reading.sound_file import REMEDY, Sound, SoundFile, SoundPart
from being.media.reading.sound_notes import track_notes, whole_notes
from being.media.reading.sound_scan import TrackScan, check_limit, scan_track
from being.media.reading.tracks import Track, list_tracks, order_tracks, track_note

LIMIT_S = 3600.0  # seconds of sound accepted unless the caller says otherwise
ENDLESS_S = 1e9
JOINT_S = 0.5  # by which the sounds of joined files may differ from one after the other


def read_sound(source: Source, *, track: int | None = None, limit_s: float = LIMIT_S) -> Sound:
    """The sound of any audio or video file, whole, in both forms. Parameters and errors as `open_sound`."""
    return open_sound(source, track=track, limit_s=limit_s).read()


def open_sound(source: Source, *, track: int | None = None, limit_s: float = LIMIT_S) -> SoundFile:
    """Listen to a file once, to know what it holds. Time 0 is where its pictures or its sound begin, which is first.

    Parameters
    ----------
    source : path or binary file: what FFmpeg decodes, wav, mp3, m4a, ogg, flac, mp4, ...
    track : which sound track, from 1; None: the default one, else the first that is not silent.
    limit_s : longest sound accepted, seconds.

    Raises
    ------
    InputError
        Unreadable, not sound, empty, more than half of it damaged, longer than the limit, no such track.
    """
    name = name_of(source)
    places = find_places(source)
    parts: list[SoundPart] = []
    notes: list[Note] = []
    begun_s = 0.0
    for place in places:
        try:
            part, choice = _scan_place(place, name, track, limit_s)
        except InputError:
            if not parts:
                raise
            continue  # what stands behind a whole file is none
        notes += [choice] if choice and not parts else []
        notes += track_notes(part.scan, part.zero_s, part.seconds, begun_s)
        parts.append(part)
        begun_s += part.seconds
        check_limit(name, begun_s, limit_s)
    return _put_together(name, parts, notes, len(parts), len(places))


def open_film_sound(source: Source, start_s: float, seconds: float, *, track: int | None = None) -> SoundFile:
    """The sound that goes with pictures: `seconds` from `start_s` on the clock of its time stamps (`file_clock`).

    It may end earlier than asked. Parameters and errors as `open_sound`.
    """
    name = name_of(source)
    places = find_places(source)
    # As far as a decoder of the pictures goes: over all files where they are fragments or AVI, else over the first one.
    part, choice = _scan_place(FilePlace(places[0].source, places[0].begins), name, track, ENDLESS_S)
    heard = _within(places, part.seconds, name, track)
    part = SoundPart(part.place, part.stream, part.scan, start_s, seconds)
    notes = [*([choice] if choice else []), *track_notes(part.scan, start_s, seconds, 0.0)]
    return _put_together(name, [part], notes, heard, len(places))


def _within(places: list[FilePlace], seconds: float, name: str, track: int | None) -> int:
    """How many of the files, from the first on, so many seconds of sound hold."""
    if len(places) == 1:
        return 1
    ends_s = 0.0
    for heard, place in enumerate(places):
        try:
            ends_s += _scan_place(place, name, track, ENDLESS_S)[0].seconds
        except InputError:
            return max(heard, 1)
        if ends_s > seconds + JOINT_S:
            return max(heard, 1)
    return len(places)


def _put_together(name: str, parts: list[SoundPart], notes: list[Note], heard: int, files: int) -> SoundFile:
    levels = sum((part.scan.levels for part in parts), Levels())
    widest = max((part.scan.widest for part in parts), key=len)
    gain = 1.0 / levels.peak if len(widest) > 2 and levels.peak > 1.0 else 1.0
    notes = [*notes, *whole_notes(levels, gain, widest, heard, files)]
    return SoundFile(name, tuple(parts), min(len(widest), 2), levels, gain, tuple(notes))


def _scan_place(place: FilePlace, name: str, wanted: int | None, limit_s: float) -> tuple[SoundPart, Note | None]:
    """The track of one file that is heard, and what there is to say about the choice."""
    with place.opened(REMEDY) as container:
        tracks = list_tracks(container)
    silent: list[tuple[Track, TrackScan]] = []
    refused: InputError | None = None
    for track in order_tracks(name, tracks, wanted):
        try:
            scan = _scan_track(place, name, track, limit_s)
        except InputError as error:
            refused = refused or error
            continue
        if not scan.silent:
            note = track_note(tracks, track, [other for other, _ in silent], wanted)
            return _part(place, track, scan), note
        silent.append((track, scan))
    if not silent:
        assert refused is not None
        raise refused
    track, scan = silent[0]
    return _part(place, track, scan), track_note(tracks, track, [], wanted)


def _scan_track(place: FilePlace, name: str, track: Track, limit_s: float) -> TrackScan:
    with place.opened(REMEDY) as container:
        films = moving_pictures(container)
        return scan_track(name, container, container.streams[track.index], films[0].index if films else None, limit_s)


def _part(place: FilePlace, track: Track, scan: TrackScan) -> SoundPart:
    zero = float(np.nanmin([scan.begins_s, scan.pictures_begin_s]))
    return SoundPart(place, track.index, scan, zero)
