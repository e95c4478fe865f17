"""Sound files as people have them, whole and damaged, made with PyAV."""

from __future__ import annotations

import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

RATE = 16_000

Floats = NDArray[np.float32]


def speech(seconds: float = 3.0, seed: int = 0) -> Floats:
    """(S,) at 16 kHz, in [-0.5, 0.5]: noise below 3 kHz in syllables; every moment of it is unlike every other."""
    count = round(seconds * RATE)
    random = np.random.default_rng(seed)
    spectrum = np.fft.rfft(random.normal(size=count))
    spectrum[np.fft.rfftfreq(count, 1 / RATE) > 3000] = 0
    noise = np.fft.irfft(spectrum, count)
    syllables = 0.3 + 0.7 * np.abs(np.sin(2 * np.pi * 2.1 * np.arange(count) / RATE))
    sound = noise * syllables
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def upsampled(sound: Floats, rate: int) -> Floats:
    """From 16 kHz by the spectrum."""
    count = round(len(sound) * rate / RATE)
    spectrum = np.fft.rfft(sound.astype(np.float64))
    wanted = np.zeros(count // 2 + 1, complex)
    kept = min(len(spectrum), len(wanted))
    wanted[:kept] = spectrum[:kept]
    return (np.fft.irfft(wanted, count) * count / len(sound)).astype(np.float32)


def below(sound: Floats, hz: float) -> Floats:
    """What of a sound of 16 kHz a slower one can hold."""
    spectrum = np.fft.rfft(sound.astype(np.float64))
    spectrum[np.fft.rfftfreq(len(sound), 1 / RATE) >= hz] = 0
    return np.fft.irfft(spectrum, len(sound)).astype(np.float32)


def write_wav(path: Path, sound: Floats, rate: int = RATE, width: int = 2) -> Path:
    """sound (S, channels) in [-1, 1]."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(sound.shape[1])
        out.setsampwidth(width)
        out.setframerate(rate)
        if width == 1:
            out.writeframes((np.round(sound * 127) + 128).astype(np.uint8).tobytes())
        else:
            out.writeframes(np.round(sound * 32767).astype("<i2").tobytes())
    return path


@dataclass(frozen=True)
class Track:
    """A sound track to be written: (S, channels) at `rate`."""

    sound: Floats
    codec: str = "aac"
    rate: int = 48_000
    layout: str = "mono"
    default: bool | None = None
    language: str = ""


Stamp = Callable[[float], float | None]  # seconds of a packet -> seconds, or None: left out


def write_media(
    path: Path,
    tracks: Sequence[Track],
    *,
    pictures_s: float = 0.0,
    stamp: Stamp = lambda time: time,
    format: str | None = None,
    tags: dict[str, str] | None = None,
) -> Path:
    """Tracks, beside a small grey film where wanted; the packets of sound are stamped anew by `stamp`."""
    with av.open(str(path), "w", format=format) as out:
        out.metadata.update(tags or {})
        packets: list[tuple[float, av.Packet]] = []
        if pictures_s:
            film = out.add_stream("mpeg2video" if path.suffix in (".ts", ".mpg") else "mpeg4", rate=25)
            film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        streams = []
        for track in tracks:
            stream = out.add_stream(track.codec, rate=track.rate, layout=track.layout)
            if track.default is not None:
                stream.disposition = av.stream.Disposition.default if track.default else av.stream.Disposition(0)
            if track.language:
                stream.metadata["language"] = track.language
            streams.append(stream)
        if pictures_s:
            for index in range(round(pictures_s * 25)):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index % 200, np.uint8), format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                packets += [(float(p.dts * p.time_base), p) for p in film.encode(frame)]
            packets += [(float(p.dts * p.time_base), p) for p in film.encode(None)]
        for track, stream in zip(tracks, streams, strict=True):
            for packet in _encoded(stream, track):
                time = stamp(float(packet.pts * packet.time_base))
                if time is not None:
                    packet.pts = packet.dts = round(time / packet.time_base)
                    packets.append((time, packet))
        for _, packet in sorted(packets, key=lambda pair: pair[0]):
            out.mux(packet)
    return path


def _encoded(stream: av.AudioStream, track: Track) -> list[av.Packet]:
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(track.sound.T.astype(np.float32)), format="fltp", layout=track.layout
    )
    frame.sample_rate, frame.pts, frame.time_base = track.rate, 0, Fraction(1, track.rate)
    converter = av.AudioResampler(
        format=stream.codec_context.format or "fltp",
        layout=track.layout,
        rate=track.rate,
        frame_size=stream.codec_context.frame_size or 1024,
    )
    packets = []
    for part in [*converter.resample(frame), *converter.resample(None), None]:
        packets += stream.encode(part)
    return packets


def spoil(path: Path, first: float, count: int = 1) -> Path:
    """Overwrite packets of the first sound track, from `first` of them on."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(container.streams.audio[0]) if p.size]
    begin = int(first * len(packets))
    for packet in packets[begin : begin + count]:
        data[packet.pos : packet.pos + packet.size] = bytes(0xFF if i % 3 else 0 for i in range(packet.size))
    path.write_bytes(data)
    return path


def found_at(heard: Floats, part: Floats, near: int, reach: int = 4000) -> int:
    """Samples by which `part`, expected from `near` on, is heard later; fails where it is not heard at all."""
    first = max(0, near - reach)
    place = heard[first : near + len(part) + reach].astype(np.float64)
    cross = np.correlate(place, part.astype(np.float64), "valid")
    power = np.convolve(place * place, np.ones(len(part)), "valid")[: len(cross)]
    alike = cross / (np.sqrt(power * np.sum(part.astype(np.float64) ** 2)) + 1e-9)
    assert alike.max() > 0.6, f"not heard near {near}: correlation {alike.max():.2f}"
    return first + int(alike.argmax()) - near


def at(seconds: float) -> int:
    """Samples."""
    return round(seconds * RATE)
