"""Helpers of the format tests: clips whose pictures and sound are known, and how they come back."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from being.media import StreamFormat, open_writer

RATE = 48_000
FPS = 25


def picture_of(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A flat picture whose brightness says its index, with a red square."""
    picture = np.full((height, width, 3), 40 + 4 * (index % 40), np.uint8)
    picture[8:24, 8:24] = (200, 60, 30)
    return picture


def noise(seconds: float, channels: int = 1) -> np.ndarray:
    """Band-limited noise: its correlation with a delayed copy peaks at one lag only."""
    rng = np.random.default_rng(3)
    raw = rng.standard_normal((int(seconds * RATE), channels))
    kernel = np.hanning(16)
    smooth = np.stack([np.convolve(raw[:, c], kernel / kernel.sum(), "same") for c in range(channels)], axis=1)
    return (0.5 * smooth / np.abs(smooth).max()).astype(np.float32)


def decode_sound(source: object) -> np.ndarray:
    """All sound, (S, channels), placed at the times its frames state."""
    with av.open(source) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler("fltp", stream.codec_context.layout, RATE)
        out: list[np.ndarray] = []
        first = None
        for frame in container.decode(stream):
            first = frame.time if first is None else first
            out += [f.to_ndarray() for f in resampler.resample(frame)]
    sound = np.concatenate(out, axis=1).T
    assert first is not None
    lead = round(first * RATE)
    return np.pad(sound, ((lead, 0), (0, 0))) if lead >= 0 else sound[-lead:]


def lag_of(decoded: np.ndarray, original: np.ndarray) -> int:
    """By how many samples the decoded sound comes late."""
    size = min(len(decoded), len(original))
    a, b = decoded[:size, 0], original[:size, 0]
    spectrum = np.fft.rfft(a, 2 * size) * np.conj(np.fft.rfft(b, 2 * size))
    correlation = np.fft.irfft(spectrum)
    best = int(np.argmax(correlation))
    return best if best < size else best - 2 * size


def decode_pictures(source: object) -> tuple[list[float], list[np.ndarray]]:
    with av.open(source) as container:
        frames = list(container.decode(video=0))
    return [float(f.time) for f in frames], [f.to_ndarray(format="rgb24") for f in frames]


def write_clip(path: Path, frames: int, channels: int = 1) -> np.ndarray:
    sound = noise(frames / FPS, channels)
    with open_writer(path, StreamFormat(64, 48, sound_channels=channels)) as writer:
        for start in range(0, len(sound), 777):  # an awkward chunking
            writer.write_sound(sound[start : start + 777])
        for index in range(frames):
            writer.write_frame(picture_of(index), index)
    return sound
