"""One reader for the sound of any file: on its own clock, whatever is damaged, tagged, joined or mixed."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from support.sound_files import RATE, Track, at, found_at, speech, spoil, upsampled, write_media, write_wav

from being.errors import InputError
from being.media.reading.film_reader import open_film
from being.media.reading.notes import NoteKind
from being.media.reading.sound_file import Sound
from being.media.reading.sound_reader import open_film_sound, read_sound


def kinds(sound: Sound) -> list[NoteKind]:
    return [note.kind for note in sound.notes]


def level(sound: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(sound)) + 1e-12))


@pytest.fixture(scope="module")
def said() -> np.ndarray:
    return speech(3.0)


@pytest.fixture(scope="module")
def said_48k(said: np.ndarray) -> np.ndarray:
    return upsampled(said, 48_000)[:, None]


# The clock.


@pytest.mark.parametrize(
    ("ending", "codec"), [("mp4", "aac"), ("mkv", "pcm_s16le"), ("ts", "mp2"), ("webm", "libopus")]
)
def test_a_hole_in_the_time_stamps_becomes_silence(
    tmp_path: Path, said: np.ndarray, said_48k: np.ndarray, ending: str, codec: str
) -> None:
    def hole(time: float) -> float | None:
        return None if 1.0 <= time < 2.0 else time

    film = 3.0 if ending in ("mp4", "ts") else 0.0
    path = write_media(tmp_path / f"a.{ending}", [Track(said_48k, codec)], pictures_s=film, stamp=hole)
    sound = read_sound(path)
    note = next(note for note in sound.notes if note.kind is NoteKind.HOLE)
    assert note.seconds == pytest.approx(1.0, abs=0.04) and note.spans[0].start_s == pytest.approx(1.0, abs=0.04)
    early = found_at(sound.model_pcm, said[at(0.3) : at(0.8)], at(0.3))
    assert abs(found_at(sound.model_pcm, said[at(2.2) : at(2.8)], at(2.2)) - early) <= at(0.001)
    assert abs(early) <= at(0.02)
    assert level(sound.model_pcm[at(1.1) : at(1.9)]) < -80
    assert len(sound.playback_pcm) == pytest.approx(3 * len(sound.model_pcm), abs=3)


def test_sound_that_begins_late_stays_with_its_pictures(tmp_path: Path, said: np.ndarray, said_48k: np.ndarray) -> None:
    path = write_media(tmp_path / "a.mkv", [Track(said_48k, "flac")], pictures_s=4.0, stamp=lambda time: time + 0.6)
    sound = read_sound(path)
    assert abs(found_at(sound.model_pcm, said[: at(0.5)], at(0.6))) <= at(0.002)
    assert "0.60 s after its pictures" in str(next(n for n in sound.notes if n.kind is NoteKind.LATE))
    alone = read_sound(write_media(tmp_path / "b.mka", [Track(said_48k, "flac")], stamp=lambda time: time + 0.6))
    assert abs(found_at(alone.model_pcm, said[: at(0.5)], 0)) <= at(0.002) and not alone.notes


def test_part_of_a_film_is_given_from_a_moment_on(tmp_path: Path, said: np.ndarray, said_48k: np.ndarray) -> None:
    path = write_media(tmp_path / "a.mkv", [Track(said_48k, "flac")], pictures_s=3.0)
    part = open_film_sound(path, 0.5, 1.25).model_pcm()
    assert len(part) == at(1.25)
    assert abs(found_at(part, said[at(0.6) : at(1.6)], at(0.1))) <= 1
    early = open_film_sound(path, -0.5, 1.0).model_pcm()
    assert len(early) == at(1.0) and not early[: at(0.49)].any()
    assert abs(found_at(early, said[: at(0.45)], at(0.5))) <= 1


@pytest.mark.parametrize("milliseconds", [5, 40])
def test_stamps_that_tremble_move_nothing(tmp_path: Path, said_48k: np.ndarray, milliseconds: int) -> None:
    random = np.random.default_rng(0)

    def tremble(time: float) -> float:
        return max(0.0, time + milliseconds / 1000 * random.uniform(-0.5, 0.5))

    steady = read_sound(write_media(tmp_path / "a.mka", [Track(said_48k, "flac")]))
    shaken = read_sound(write_media(tmp_path / "b.mka", [Track(said_48k, "flac")], stamp=tremble))
    assert not shaken.notes
    assert len(shaken.model_pcm) == len(steady.model_pcm)


@pytest.mark.parametrize("codec", ["mp2", "aac", "ac3"])
def test_joined_transport_streams_carry_on(tmp_path: Path, codec: str) -> None:
    halves = [speech(2.0, 1), speech(3.0, 2)]
    written = [
        write_media(tmp_path / f"{i}.ts", [Track(upsampled(half, 48_000)[:, None], codec)], pictures_s=len(half) / RATE)
        for i, half in enumerate(halves)
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(path.read_bytes() for path in written))
    sound = read_sound(joined)
    assert sound.seconds == pytest.approx(5.0, abs=0.08)
    assert NoteKind.JOINED in kinds(sound)
    assert abs(found_at(sound.model_pcm, halves[0][at(1.2) : at(1.8)], at(1.2))) <= at(0.03)
    second = found_at(sound.model_pcm, halves[1][at(2.0) : at(2.8)], at(4.0))
    assert 0 <= second <= at(0.08)  # priming samples of the second encoder


# Files that are several.


def test_wavs_end_to_end_are_all_heard(tmp_path: Path) -> None:
    halves = [speech(1.0, 1), speech(2.0, 2)]
    path = tmp_path / "joined.wav"
    first = write_wav(tmp_path / "a.wav", halves[0][:, None])
    second = write_wav(tmp_path / "b.wav", upsampled(halves[1], 44_100)[:, None].repeat(2, axis=1), 44_100)
    path.write_bytes(first.read_bytes() + second.read_bytes())
    for source in (path, io.BytesIO(path.read_bytes())):
        sound = read_sound(source)
        assert sound.seconds == pytest.approx(3.0, abs=0.001) and sound.playback_pcm.shape[1] == 2
        assert "2 files stand end to end in one, all are heard" in str(sound.notes[-1])
        assert abs(found_at(sound.model_pcm, halves[1][at(1.0) : at(1.8)], at(2.0))) <= 1


@pytest.mark.parametrize(
    ("ending", "codec", "heard", "told"),
    [("mp4", "aac", 1, "only the first is read"), ("avi", "libmp3lame", 2, "all are heard")],
)
def test_the_sound_of_films_end_to_end_goes_as_far_as_their_pictures(
    tmp_path: Path, ending: str, codec: str, heard: int, told: str
) -> None:
    halves = [speech(2.0, 1), speech(2.0, 2)]
    written = [
        write_media(tmp_path / f"{i}.{ending}", [Track(upsampled(half, 48_000)[:, None], codec)], pictures_s=2.0)
        for i, half in enumerate(halves)
    ]
    path = tmp_path / f"joined.{ending}"
    path.write_bytes(b"".join(each.read_bytes() for each in written))
    film = open_film(path)
    assert film.duration_s == pytest.approx(2.0 * heard, abs=0.1)
    sound = open_film_sound(path, 0.0, 10.0).read()
    assert sound.seconds == pytest.approx(film.duration_s, abs=0.15)
    assert f"2 files stand end to end in one, {told}" in [str(note) for note in sound.notes]
    for half, begin in list(zip(halves, (0.0, 2.0), strict=True))[:heard]:
        assert abs(found_at(sound.model_pcm, half[at(0.5) : at(1.3)], at(begin + 0.5))) <= at(0.1)
    assert read_sound(path).seconds == pytest.approx(4.0, abs=0.2), "sound alone: all of it"


@pytest.mark.parametrize(
    ("ending", "codec", "lost"), [("mp3", "libmp3lame", 0.12), ("flac", "flac", 0.0), ("ogg", "flac", 0.0)]
)
def test_packet_streams_end_to_end_are_all_heard(tmp_path: Path, ending: str, codec: str, lost: float) -> None:
    halves = [speech(2.0, 1), speech(2.0, 2)]
    parts = [
        write_media(tmp_path / f"{i}.{ending}", [Track(upsampled(half, 48_000)[:, None], codec)]).read_bytes()
        for i, half in enumerate(halves)
    ]
    path = tmp_path / f"joined.{ending}"
    path.write_bytes(b"".join(parts))
    sound = read_sound(path)
    assert sound.seconds == pytest.approx(4.0, abs=0.01 + lost)
    for half, begin in zip(halves, (0.0, 2.0), strict=True):
        assert abs(found_at(sound.model_pcm, half[at(0.5) : at(1.5)], at(begin + 0.5))) <= at(0.01 + lost)


# Damage.


@pytest.mark.parametrize(
    ("ending", "codec"), [("m4a", "aac"), ("flac", "flac"), ("mp3", "libmp3lame"), ("m4a", "alac")]
)
def test_damaged_packets_are_skipped_with_silence_in_their_place(
    tmp_path: Path, said: np.ndarray, said_48k: np.ndarray, ending: str, codec: str
) -> None:
    path = spoil(write_media(tmp_path / f"a.{ending}", [Track(said_48k, codec)]), 0.5, 1 if ending == "mp3" else 2)
    sound = read_sound(path)
    assert {NoteKind.DAMAGE, NoteKind.HOLE} & set(kinds(sound))
    slack = 0.03 if ending == "mp3" else 0.002  # a frame that left no trace cannot be replaced
    assert sound.seconds == pytest.approx(3.0, abs=0.03)
    before = found_at(sound.model_pcm, said[at(0.4) : at(1.2)], at(0.4))
    after = found_at(sound.model_pcm, said[at(2.0) : at(2.8)], at(2.0))
    assert abs(after - before) <= at(slack)


def test_stray_bytes_and_a_lost_end_cost_only_themselves(
    tmp_path: Path, said: np.ndarray, said_48k: np.ndarray
) -> None:
    whole = write_media(tmp_path / "a.mp3", [Track(said_48k, "libmp3lame")]).read_bytes()
    half = len(whole) // 2
    stray = read_sound(io.BytesIO(whole[:half] + b"<html>502</html>" * 16 + whole[half:]))
    assert stray.seconds == pytest.approx(3.0, abs=0.06)
    found_at(stray.model_pcm, said[at(2.0) : at(2.8)], at(2.0))
    flac = write_media(tmp_path / "a.flac", [Track(said_48k, "flac")]).read_bytes()
    cut = read_sound(io.BytesIO(flac[: len(flac) * 2 // 3]))
    assert 1.5 < cut.seconds < 2.3 and NoteKind.CUT_OFF in kinds(cut)


def test_a_file_is_refused_where_less_than_half_can_be_decoded(tmp_path: Path, said_48k: np.ndarray) -> None:
    path = spoil(write_media(tmp_path / "a.m4a", [Track(said_48k, "alac")]), 0.2, 1000)
    with pytest.raises(InputError, match=r"damaged: \d+% of its sound \(ALAC\) can be decoded") as caught:
        read_sound(path)
    assert "\n" not in str(caught.value)


# Tags, covers and other streams.


def _tagged(path: Path, text: bytes, sound: np.ndarray) -> Path:
    data = write_wav(path, sound[:, None]).read_bytes()
    padded = text + b"\0" * (1 + (len(text) + 1) % 2)
    info = b"INFOINAM" + struct.pack("<I", len(text) + 1) + padded
    head = data[:4] + struct.pack("<I", len(data) + len(info)) + data[8:36]
    path.write_bytes(head + b"LIST" + struct.pack("<I", len(info)) + info + data[36:])
    return path


@pytest.mark.parametrize(
    "text", ["Grüße".encode(), "Grüße".encode("latin-1"), "录音".encode("gbk"), bytes(range(1, 256))]
)
def test_tags_of_any_encoding_do_not_matter(tmp_path: Path, said: np.ndarray, text: bytes) -> None:
    sound = read_sound(_tagged(tmp_path / "a.wav", text, said))
    assert not sound.notes
    np.testing.assert_allclose(sound.model_pcm, said, atol=1e-4)


def test_a_handler_that_is_no_utf8_and_a_cover_do_not_matter(tmp_path: Path, said_48k: np.ndarray) -> None:
    film = write_media(tmp_path / "a.mp4", [Track(said_48k)], pictures_s=3.0)
    film.write_bytes(film.read_bytes().replace(b"SoundHandler", b"S\xf8undHandler"))
    assert read_sound(film).seconds == pytest.approx(3.0, abs=0.05)
    song = write_media(tmp_path / "a.mp3", [Track(said_48k, "libmp3lame")], tags={"title": "Grüße"})
    song.write_bytes(song.read_bytes().replace("Grüße".encode(), b"Gr\xfc\xdfe!!"))
    assert read_sound(song).seconds == pytest.approx(3.0, abs=0.05)


# Tracks.


def _two_tracks(path: Path, first: np.ndarray, said_48k: np.ndarray, default: bool | None = None) -> Path:
    tracks = [
        Track(first, default=None if default is None else False, language="eng"),
        Track(said_48k, default=default, language="deu"),
    ]
    return write_media(path, tracks, pictures_s=3.0)


def test_the_first_track_that_is_not_silent_is_heard(tmp_path: Path, said: np.ndarray, said_48k: np.ndarray) -> None:
    sound = read_sound(_two_tracks(tmp_path / "a.mkv", np.zeros_like(said_48k), said_48k))
    found_at(sound.model_pcm, said[at(1.0) : at(2.0)], at(1.0))
    (note,) = [note for note in sound.notes if note.kind is NoteKind.TRACK]
    assert str(note).startswith("Track 2 (deu, AAC, mono") and "track 1 is silent" in str(note)


def test_the_default_track_is_heard_and_another_can_be_chosen(
    tmp_path: Path, said: np.ndarray, said_48k: np.ndarray
) -> None:
    tone = 0.4 * np.sin(2 * np.pi * 440 * np.arange(len(said_48k)) / 48_000)[:, None]
    path = _two_tracks(tmp_path / "a.mkv", tone, said_48k, default=True)
    sound = read_sound(path)
    found_at(sound.model_pcm, said[at(1.0) : at(2.0)], at(1.0))
    (note,) = [note for note in sound.notes if note.kind is NoteKind.TRACK]
    assert "--audio-track N chooses another: track 1 (eng, AAC, mono)" in str(note)
    other = read_sound(path, track=1).model_pcm[: 2 * RATE]
    assert np.abs(np.fft.rfft(other)).argmax() == 880  # 440 Hz
    with pytest.raises(InputError, match=r"has 2 sound tracks, there is no track 3\. Choose of track 1 \(eng"):
        read_sound(path, track=3)


# Channels.


def test_opposite_channels_are_heard_by_the_louder_one(tmp_path: Path, said: np.ndarray) -> None:
    sound = read_sound(write_wav(tmp_path / "a.wav", np.stack([0.5 * said, -said], axis=1)))
    np.testing.assert_allclose(sound.model_pcm, -said, atol=1e-4)
    assert "hears the right one alone" in str(sound.notes[-1])
    assert level(sound.playback_pcm[:, 1]) == pytest.approx(level(said), abs=0.1)  # people hear both, as they are
    one_sided = read_sound(write_wav(tmp_path / "b.wav", np.stack([said, 0 * said], axis=1)))
    np.testing.assert_allclose(one_sided.model_pcm, 0.5 * said, atol=1e-4)
    assert not one_sided.notes


@pytest.mark.parametrize(
    ("layout", "channels", "centre"), [("5.1", 6, 2), ("7.1", 8, 2), ("5.1(side)", 6, 2), ("3.0", 3, 2)]
)
def test_the_centre_of_surround_sound_is_3_db_down(
    tmp_path: Path, said: np.ndarray, said_48k: np.ndarray, layout: str, channels: int, centre: int
) -> None:
    sound = np.zeros((len(said_48k), channels), np.float32)
    sound[:, centre] = said_48k[:, 0]
    if channels > 3:
        sound[:, 3] = 0.9  # the low-frequency channel: left out
    path = tmp_path / "a.wav"
    _write_layout(path, sound, layout)
    heard = read_sound(path)
    assert heard.playback_pcm.shape[1] == 2 and NoteKind.CHANNELS in kinds(heard)
    for side in heard.playback_pcm.T:
        assert level(side) == pytest.approx(level(said) - 3.01, abs=0.1)
    assert level(heard.model_pcm) == pytest.approx(level(said) - 3.01, abs=0.1)


def _write_layout(path: Path, sound: np.ndarray, layout: str) -> None:
    """A WAV with a channel mask."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=48_000, layout=layout)
        data = np.round(sound * 32_767).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(data, format="s16", layout=layout)
        frame.sample_rate = 48_000
        for part in (frame, None):
            out.mux(stream.encode(part))


def test_mixed_channels_that_are_too_loud_are_made_quieter_as_a_whole(tmp_path: Path, said_48k: np.ndarray) -> None:
    path = tmp_path / "a.wav"
    _write_layout(path, np.repeat(1.9 * said_48k, 6, axis=1), "5.1")
    sound = read_sound(path)
    assert np.abs(sound.playback_pcm).max() == pytest.approx(1.0, abs=0.02)
    assert NoteKind.LEVEL in kinds(sound)


def test_rate_and_channels_may_change_midway(tmp_path: Path) -> None:
    halves = [speech(2.0, 1), speech(2.0, 2)]
    parts = [
        write_media(
            tmp_path / f"{i}.ac3",
            [Track(upsampled(half, rate)[:, None].repeat(count, axis=1), "ac3", rate, layout)],
        ).read_bytes()
        for i, (half, rate, layout, count) in enumerate(
            zip(halves, (44_100, 48_000), ("mono", "stereo"), (1, 2), strict=True)
        )
    ]
    path = tmp_path / "joined.ac3"
    path.write_bytes(b"".join(parts))
    sound = read_sound(path)
    assert sound.playback_pcm.shape[1] == 2 and sound.seconds == pytest.approx(4.0, abs=0.08)
    for half, begin in zip(halves, (0.0, 2.0), strict=True):
        assert abs(found_at(sound.model_pcm, half[at(0.5) : at(1.5)], at(begin + 0.5))) <= at(0.06)


# Both forms.


def test_blocks_and_whole_are_the_same(tmp_path: Path, said_48k: np.ndarray) -> None:
    from being.media.reading.sound_reader import open_sound

    path = write_media(tmp_path / "a.flac", [Track(np.repeat(said_48k, 2, axis=1), "flac", layout="stereo")])
    opened = open_sound(path)
    whole = opened.read()
    np.testing.assert_array_equal(np.concatenate(list(opened.model_blocks())), whole.model_pcm)
    np.testing.assert_array_equal(np.concatenate(list(opened.playback_blocks())), whole.playback_pcm)
    np.testing.assert_array_equal(opened.model_pcm(), whole.model_pcm)
    np.testing.assert_array_equal(opened.playback_pcm(), whole.playback_pcm)
    assert max(len(block) for block in opened.playback_blocks()) < 48_000


@pytest.mark.parametrize("rate", [44_100, 48_000, 8_000])
def test_paired_blocks_are_both_forms_in_step(tmp_path: Path, said: np.ndarray, rate: int) -> None:
    from being.media.reading.sound_reader import open_sound

    odd = np.interp(np.arange(rate * 2 + 17) / rate, np.arange(len(said)) / 16_000, said)
    opened = open_sound(write_wav(tmp_path / "a.wav", np.stack([odd, -0.5 * odd], axis=1).astype(np.float32), rate))
    known, pairs = opened.read(), list(opened.paired_blocks())
    assert all(len(played) == 3 * len(heard) for heard, played in pairs)
    assert max(len(heard) for heard, _ in pairs) <= 32_000, "never a large part of the sound at once"
    np.testing.assert_array_equal(np.concatenate([heard for heard, _ in pairs]), known.model_pcm)
    played = np.concatenate([played for _, played in pairs])
    both = min(len(played), len(known.playback_pcm))
    np.testing.assert_array_equal(played[:both], known.playback_pcm[:both])
    assert not played[both:].any() and abs(len(played) - len(known.playback_pcm)) <= 3


def test_a_source_that_cannot_seek_is_read(said: np.ndarray, tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self.read = io.BytesIO(data).read  # type: ignore[method-assign]

        def readable(self) -> bool:
            return True

        def seekable(self) -> bool:
            return False

    data = write_wav(tmp_path / "a.wav", said[:, None]).read_bytes()
    np.testing.assert_allclose(read_sound(Pipe(data)).model_pcm, said, atol=1e-4)  # type: ignore[arg-type]
