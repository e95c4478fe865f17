"""The sound of a talking-portrait folder, under whichever name and at whichever rate it came, and what is not read."""

from __future__ import annotations

import warnings
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from being.constants import SAMPLE_RATE
from being.dataset.tracking import finite, require_file
from being.errors import FormatError

RATES = (4_000, 384_000)  # Hz that a sound may have; a filter for an absurd rate would fill the memory
# Windows computed elsewhere that training can use: deepspeech always, wav2vec2 where there is one (and it is centred).
PRECOMPUTED = {"deepspeech": ("aud_ds.npy", "aud.npy", "deepspeech.npy"), "wav2vec2": ("aud_eo.npy",)}
KINDS = {"aud_hu.npy": "HuBERT", "aud_ave.npy": "SyncTalk's AVE", "bs.npy": "blendshapes"}  # kept beside them by others
CONVERT = "Convert it: ffmpeg -i IN -ac 1 -ar 16000 aud.wav"


def sound_path(folder: Path) -> Path:
    """The sound of the clip: aud.wav, else the one WAV file that there is; the name ours would have where none is."""
    ours = folder / "aud.wav"
    others = sorted(folder.glob("*.wav"))
    return others[0] if not ours.is_file() and len(others) == 1 else ours


def read_wav(path: Path) -> NDArray[np.float32]:
    """A WAV file as float32 mono in [-1, 1] at 16 kHz (S,), resampled where it has another rate.

    Raises FormatError where it is missing, no WAV file, or claims a rate that no sound has.
    """
    require_file(path, "It is the sound of the whole clip, 16 kHz mono")
    rate, samples = _stored(path)
    if not RATES[0] <= rate <= RATES[1]:
        raise FormatError(f"{path} claims a sample rate of {rate} Hz", CONVERT)
    if samples.dtype.kind in "iu":
        info = np.iinfo(samples.dtype)
        middle = 128.0 if samples.dtype == np.uint8 else 0.0
        samples = (samples.astype(np.float32) - middle) / (info.max - middle + 1)
    if samples.ndim == 2:
        samples = samples.mean(axis=1)
    samples = np.ascontiguousarray(finite(samples, (None,), str(path)), np.float32)
    if rate != SAMPLE_RATE:
        from scipy.signal import resample_poly

        common = gcd(rate, SAMPLE_RATE)
        samples = resample_poly(samples, SAMPLE_RATE // common, rate // common).astype(np.float32)
    return samples


def sound_notes(folder: Path) -> tuple[str, ...]:
    """What is to be known about the sound of a folder: another name, another rate, features that nothing here reads."""
    path = sound_path(folder)
    notes = []
    if path.is_file():
        if path.name != "aud.wav":
            notes.append(f"there is no aud.wav: the sound is {path.name}")
        try:
            rate, _ = _stored(path, mapped=True)
        except FormatError:
            rate = SAMPLE_RATE  # reading it says what is wrong
        if rate != SAMPLE_RATE:
            notes.append(f"{path.name} has {rate} Hz and is resampled to {SAMPLE_RATE}")
    used = {name for names in PRECOMPUTED.values() for name in names}
    unread = sorted(file.name for file in folder.glob("*.npy") if file.name not in used)
    if unread:
        named = ", ".join(f"{name} ({KINDS[name]})" if name in KINDS else name for name in unread)
        notes.append(f"not used, no --features reads it: {named}; features are made from {path.name}")
    return tuple(notes)


def _stored(path: Path, *, mapped: bool = False) -> tuple[int, NDArray[Any]]:
    """Rate and samples as stored; `mapped` reads no samples where that can be."""
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # unknown chunks do not matter
            try:
                return wavfile.read(path, mmap=mapped)
            except ValueError:
                if not mapped:
                    raise
                return wavfile.read(path)  # 24 bits cannot be mapped
    except Exception as error:
        raise FormatError(f"{path} is not a WAV file ({error})", CONVERT) from error
