"""The sound of footage lies under its pictures, whatever became of its packets on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.sound_files import RATE, Track, at, found_at, speech, upsampled, write_media

from being.capture.video.sound import film_sound
from being.errors import InputError
from being.media.reading.film_reader import open_film
from being.media.reading.notes import NoteKind

SAID = speech(3.0)
SAID_48K = upsampled(SAID, 48_000)[:, None]


def lost(time: float) -> float | None:
    """A second of packets is missing."""
    return None if 1.0 <= time < 2.0 else time


def test_a_hole_is_silence_and_what_follows_stays_with_its_picture(tmp_path: Path) -> None:
    film = write_media(tmp_path / "a.mp4", [Track(SAID_48K)], pictures_s=3.0, stamp=lost)
    heard = film_sound(film, 0.0, 3.0)
    assert heard.samples.shape == (3 * RATE,) and heard.samples.dtype == np.float32
    for second in (0.3, 2.2):
        assert abs(found_at(heard.samples, SAID[at(second) : at(second + 0.6)], at(second))) <= at(0.02)
    assert NoteKind.HOLE in [note.kind for note in heard.notes]
    (hole,) = heard.missing
    assert hole.start_s == pytest.approx(1.0, abs=0.03) and hole.seconds == pytest.approx(1.0, abs=0.03)


def test_only_the_chosen_part_is_read(tmp_path: Path) -> None:
    film = write_media(tmp_path / "a.mkv", [Track(SAID_48K, "flac")], pictures_s=3.0)
    heard = film_sound(film, 1.0, 1.0)
    assert heard.samples.shape == (RATE,)
    assert abs(found_at(heard.samples, SAID[at(1.2) : at(1.8)], at(0.2))) <= 1


def test_a_silent_track_is_refused_if_there_is_no_other_or_it_was_asked_for(tmp_path: Path) -> None:
    film = write_media(tmp_path / "a.mkv", [Track(0 * SAID_48K, "flac"), Track(SAID_48K, "flac")], pictures_s=3.0)
    assert film_sound(film, 0.0, 3.0).samples.any()
    with pytest.raises(InputError, match=r"The sound track 1 of .* is silent"):
        film_sound(film, 0.0, 3.0, track=1)


def test_a_film_that_is_several_is_read_to_the_end_of_the_first_and_that_is_told(tmp_path: Path) -> None:
    one = write_media(tmp_path / "a.mp4", [Track(SAID_48K)], pictures_s=3.0)
    both = tmp_path / "both.mp4"
    both.write_bytes(one.read_bytes() * 2)
    film = open_film(both)
    heard = film_sound(both, film.start_s, film.duration_s)
    assert film.frames == open_film(one).frames == len(heard.samples) // 640
    assert abs(found_at(heard.samples, SAID[at(2.0) : at(2.6)], at(2.0))) <= at(0.02)
    assert [str(note) for note in heard.notes if note.kind is NoteKind.PARTS] == [
        "2 files stand end to end in one, only the first is read"
    ]
