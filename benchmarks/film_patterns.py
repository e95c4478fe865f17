"""A film that tells its own time and colours: what film_inputs.py encodes, and how it is read off again.

Each picture shows eight colour patches, a rolling pattern, and the time in a strip of black and white blocks; the sound
is a tone whose pitch is the time. So a decoded picture says when it was filmed, and a stretch of sound when it was
recorded, whatever happened to them in between.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.io import wavfile
from scipy.signal import hilbert

Floats = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]

SECONDS = 5.0
UNIT = 240  # of the time code, a second
BITS = 12
PATCHES = np.array(
    [
        [180, 60, 60],
        [60, 160, 70],
        [50, 80, 180],
        [200, 180, 60],
        [190, 120, 100],
        [128, 128, 128],
        [40, 40, 40],
        [210] * 3,
    ]
)
LOW_HZ, RISE_HZ = 500.0, 400.0  # the tone at 0 s, and what it rises a second
SOUND_RATE = 48_000


def picture(time: float, width: int, height: int) -> Picture:
    """RGB (height, width, 3) filmed at a time, seconds."""
    out = np.zeros((height, width, 3), np.uint8)
    third = height // 3
    for index, colour in enumerate(PATCHES):
        out[:third, index * width // 8 : (index + 1) * width // 8] = colour
    x = np.arange(width) - 60 * time
    out[third : 2 * third] = (110 + 50 * np.sin(2 * np.pi * x / 40))[None, :, None].astype(np.uint8)
    code = round(time * UNIT)
    code ^= code >> 1  # Gray: a picture between two times is off by one at most
    for bit in range(BITS):
        shown = 235 if code >> bit & 1 else 20
        out[2 * third :, bit * width // BITS : (bit + 1) * width // BITS] = shown
    return out


def time_of(shown: Picture) -> float:
    """When a picture was filmed, seconds."""
    height, width = shown.shape[:2]
    grey = shown[2 * height // 3 + height // 12 : height - height // 16].astype(np.float64).mean(axis=(0, 2))
    code = 0
    for bit in range(BITS):
        block = grey[int((bit + 0.3) * width / BITS) : int((bit + 0.7) * width / BITS) + 1]
        code |= int(block.mean() > 127) << bit
    shift = code >> 1
    while shift:
        code ^= shift
        shift >>= 1
    return code / UNIT


def patches_of(shown: Picture) -> Floats:
    """Mean colours (8, 3) of a picture's patches."""
    height, width = shown.shape[:2]
    rows = slice(height // 12, height // 4)
    columns = [(int((i + 0.3) * width / 8), int((i + 0.7) * width / 8)) for i in range(8)]
    return np.array([shown[rows, a:b].reshape(-1, 3).mean(axis=0) for a, b in columns])


def tone(folder: Path, seconds: float = SECONDS) -> Path:
    """The sound, as a WAV."""
    t = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
    wave = 0.4 * np.sin(2 * np.pi * (LOW_HZ * t + RISE_HZ * t * t / 2))
    path = folder / "tone.wav"
    wavfile.write(path, SOUND_RATE, np.round(32767 * wave).astype(np.int16))
    return path


def times_heard(sound: npt.NDArray[np.float32], rate: int, frames: int) -> Floats:
    """When the sound of each 25th of a second was recorded (frames,); NaN where there is none."""
    out = np.full(frames, np.nan)
    each = rate // 25
    if len(sound) < 4 * each:
        return out
    phase = np.unwrap(np.angle(hilbert(sound)))
    pitch = np.diff(phase) * rate / (2 * np.pi)
    level = np.abs(sound)
    for index in range(min(frames, len(pitch) // each)):
        part = slice(index * each, (index + 1) * each)
        if level[part].mean() > 0.02:
            out[index] = (np.median(pitch[part]) - LOW_HZ) / RISE_HZ - 0.5 / 25
    return out


def film(
    folder: Path,
    name: str,
    options: str,
    *,
    size: tuple[int, int] = (320, 240),
    rate: float = 25.0,
    seconds: float = SECONDS,
    sound: str = "-c:a aac -b:a 96k",
    tags: str = "",
    before: Callable[[Picture], bytes] | None = None,
    raw: str = "rgb24",
) -> Path:
    """Encode the pattern as `folder/name` with ffmpeg's options; sound "": none. before : picture to raw."""
    width, height = size
    path = folder / name
    command = ["ffmpeg", "-y", "-nostdin", "-v", "error", "-f", "rawvideo", "-pix_fmt", raw, *tags.split()]
    command += ["-s", f"{width}x{height}", "-framerate", f"{rate}", "-i", "-"]
    if sound:
        command += ["-i", str(tone(folder, seconds)), "-map", "0:v", "-map", "1:a", *sound.split()]
    command += [*options.split(), str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None and process.stderr is not None
    try:
        for index in range(round(seconds * rate)):
            shown = picture(index / rate, width, height)
            process.stdin.write(shown.tobytes() if before is None else before(shown))
        process.stdin.close()
    except BrokenPipeError:
        pass
    said = process.stderr.read().decode(errors="replace")
    if process.wait():
        raise RuntimeError(f"{' '.join(command)}: {said.strip()[-300:]}")
    return path


def by_ffmpeg(path: Path, width: int, height: int) -> Iterator[Picture]:
    """A film's pictures at 25 a second as ffmpeg makes them."""
    command = [
        "ffmpeg",
        "-nostdin",
        "-v",
        "quiet",
        "-i",
        str(path),
        "-map",
        "0:v:0",
        "-vf",
        f"fps=25,scale={width}:{height}",
    ]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    size = width * height * 3
    while len(raw := process.stdout.read(size)) == size:
        yield np.frombuffer(raw, np.uint8).reshape(height, width, 3)
    process.wait()
