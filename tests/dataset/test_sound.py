"""The sound of other people's folders: any rate and form, and a word on what is not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from being.dataset.sound import read_wav, sound_notes
from being.errors import FormatError


def tone(rate: int, seconds: float = 1.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize("rate", [8000, 22050, 24000, 44100, 48000])
@pytest.mark.parametrize("sides", [1, 2])
def test_other_rates_are_resampled_and_told(tmp_path: Path, rate: int, sides: int) -> None:
    samples = np.round(np.tile(tone(rate)[:, None], (1, sides)) * 32767).astype(np.int16)
    wavfile.write(tmp_path / "aud.wav", rate, samples if sides == 2 else samples[:, 0])
    heard = read_wav(tmp_path / "aud.wav")
    assert heard.dtype == np.float32 and abs(len(heard) - 16000) <= 1
    inner = slice(200, 15800)  # a filter's ends are no tone
    assert np.abs(heard[inner] - tone(16000)[inner]).max() < 0.005
    assert sound_notes(tmp_path) == (f"aud.wav has {rate} Hz and is resampled to 16000",)


def test_16_khz_pass_bit_by_bit(tmp_path: Path) -> None:
    samples = tone(16000).astype(np.float32)
    wavfile.write(tmp_path / "aud.wav", 16000, samples)
    assert np.array_equal(read_wav(tmp_path / "aud.wav"), samples) and sound_notes(tmp_path) == ()


def test_a_rate_that_no_sound_has_is_refused(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "aud.wav", 16000, np.zeros(100, np.int16))
    data = bytearray((tmp_path / "aud.wav").read_bytes())
    data[24:32] = (2_000_000_000).to_bytes(4, "little") + (4_000_000_000).to_bytes(4, "little")  # bytes a second, too
    (tmp_path / "aud.wav").write_bytes(data)
    with pytest.raises(FormatError, match=r"2000000000 Hz.*ffmpeg"):
        read_wav(tmp_path / "aud.wav")


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "obama.wav", 16000, np.zeros(16000, np.int16))
    for name in ("aud_ds.npy", "aud_eo.npy", "aud_hu.npy", "aud_ave.npy", "aud_other.npy"):
        np.save(tmp_path / name, np.zeros((25, 16, 4)))
    assert sound_notes(tmp_path) == (
        "there is no aud.wav: the sound is obama.wav",
        "not used, no --features reads it: aud_ave.npy (SyncTalk's AVE), aud_hu.npy (HuBERT), aud_other.npy; "
        "features are made from obama.wav",
    )


def test_no_sound_is_told_by_reading_it(tmp_path: Path) -> None:
    assert sound_notes(tmp_path) == ()
    (tmp_path / "aud.wav").write_bytes(b"RIFF")
    assert sound_notes(tmp_path) == ()
    with pytest.raises(FormatError, match=r"aud\.wav is not a WAV file.*ffmpeg"):
        read_wav(tmp_path / "aud.wav")
