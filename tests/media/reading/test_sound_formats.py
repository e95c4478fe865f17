"""Every format that PyAV writes is read as long, as loud, where it was made: a fast slice of benchmarks/inputs.py."""

from __future__ import annotations

import struct
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from support.sound_files import RATE, Track, at, below, found_at, speech, upsampled, write_media

from being.media.reading.sound_reader import read_sound


def level(sound: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(sound)) + 1e-12))


@pytest.mark.parametrize("bits", [8, 16, 24, 32, 64])
def test_whole_numbers_of_any_size(tmp_path: Path, bits: int) -> None:
    said = speech(0.3)
    path = tmp_path / "a.wav"
    whole = np.round(said.astype(np.float64) * 2 ** (bits - 1)).astype(np.int64) + (128 if bits == 8 else 0)
    data = b"".join(int(n).to_bytes(8, "little", signed=True)[: bits // 8] for n in whole)
    size = bits // 8
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, RATE * size, size, bits)
    chunk = b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVE" + form + chunk)
    np.testing.assert_allclose(read_sound(path).model_pcm, said, atol=2.0 ** -(min(bits, 24) - 1))


FAST = [  # a slice of benchmarks/inputs.py: container, codec, rate, channels
    *[("wav", "pcm_s16le", rate, n) for rate in (8000, 11_025, 22_050, 96_000, 31_337) for n in (1, 2)],
    *[
        ("wav", codec, 48_000, 2)
        for codec in ("pcm_u8", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "adpcm_ms")
    ],
    *[("w64", "pcm_s16le", 44_100, 1), ("aiff", "pcm_s16be", 44_100, 2), ("au", "pcm_s16be", 22_050, 1)],
    *[("caf", "alac", 44_100, 2), ("mov", "pcm_s16be", 48_000, 2), ("mka", "pcm_s16le", 44_100, 2)],
    *[("mp3", "libmp3lame", rate, 2) for rate in (16_000, 24_000, 44_100)],
    *[("m4a", "aac", rate, n) for rate in (16_000, 44_100) for n in (1, 2)],
    *[("aac", "aac", 48_000, 2), ("ts", "mp2", 48_000, 1), ("mkv", "aac", 44_100, 2), ("flv", "aac", 44_100, 1)],
    *[("flac", "flac", 96_000, 2), ("ogg", "flac", 44_100, 1), ("ogg", "libvorbis", 44_100, 2)],
    *[("opus", "libopus", 48_000, n) for n in (1, 2)],
    *[
        ("webm", "libopus", 48_000, 2),
        ("ac3", "ac3", 48_000, 2),
        ("wma", "wmav2", 44_100, 2),
        ("avi", "pcm_s16le", 44_100, 2),
    ],
    *[("tta", "tta", 44_100, 2), ("wv", "wavpack", 44_100, 2), ("nut", "mp2", 48_000, 1)],
]


@pytest.mark.parametrize(("ending", "codec", "rate", "channels"), FAST, ids=lambda value: str(value))
def test_every_format_is_as_long_as_loud_and_where_it_was_made(
    tmp_path: Path, ending: str, codec: str, rate: int, channels: int
) -> None:
    said = speech(1.5)
    made = np.repeat(upsampled(said, rate)[:, None], channels, axis=1)
    make = partial(write_media, tmp_path / f"a.{ending}", format="asf" if ending == "wma" else None)
    try:
        path = make([Track(made, codec, rate, "stereo" if channels == 2 else "mono")])
    except (ValueError, av.error.FFmpegError) as error:
        pytest.skip(f"this PyAV does not write it: {error}")
    sound = read_sound(path)
    assert sound.seconds == pytest.approx(1.5, abs=0.085)  # whole blocks: up to 2048 samples more at 24 kHz
    assert sound.playback_pcm.shape[1] == channels
    narrow = below(said, min(rate, RATE) / 2)
    lag = found_at(sound.model_pcm, narrow[at(0.4) : at(1.1)], at(0.4))
    assert abs(lag) <= at(0.05)  # priming samples where the format does not tell them
    assert level(sound.model_pcm[at(0.2) : at(1.2)]) == pytest.approx(level(narrow[at(0.2) : at(1.2)]), abs=1.0)
