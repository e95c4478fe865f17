"""Makers of sound files with something wrong or unusual; see sound_unusual.py."""

from __future__ import annotations

import struct
import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from ffmpeg import ff
from sound_inputs import RATE, SECONDS, Floats, picture, truth, voice

from being.samples import HELLO

Change = Callable[[bytes], bytes]


# What is heard where.


def gap(at: float, length: float) -> Floats:
    """The truth with silence over a stretch."""
    sound = truth().copy()
    sound[round(at * RATE) : round((at + length) * RATE)] = 0
    return sound


def late(seconds: float) -> Floats:
    """The truth after so much silence."""
    return np.concatenate([np.zeros(round(seconds * RATE), np.float32), truth()])


def twice(count: int = 2, pause: float = 0.0) -> Floats:
    """The truth again and again."""
    return np.tile(np.concatenate([truth(), np.zeros(round(pause * RATE), np.float32)]), count)


def after(seconds: float) -> Floats:
    """The truth from a moment on."""
    return truth()[round(seconds * RATE) :]


# Files.


def made(name: str, options: tuple[object, ...], folder: Path, film: bool = False) -> Path:
    """The voice, with a small film beside it or not."""
    path = folder / name
    pictures = (*picture(),) if film else ()
    maps = ("-map", "1:v", "-map", "0:a", "-c:v", "mpeg2video" if path.suffix in (".ts", ".mpg") else "mpeg4")
    ff("-i", voice(folder), *pictures, *(maps if film else ()), *options, path)
    return path


def changed(name: str, options: tuple[object, ...], change: Change, folder: Path, film: bool = False) -> Path:
    """A file whose bytes were changed."""
    path = made(name, options, folder, film)
    path.write_bytes(change(path.read_bytes()))
    return path


def spoilt(name: str, options: tuple[object, ...], first: float, count: int, folder: Path, film: bool = False) -> Path:
    """A file some of whose packets of sound were overwritten."""
    path = made(name, options, folder, film)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        packets = [p for p in container.demux(stream) if p.size and p.pos is not None and p.pos >= 0]
        begin = int(len(packets) * first)
        for packet in packets[begin : begin + count]:
            data[packet.pos : packet.pos + packet.size] = bytes(0xFF if i % 3 else 0 for i in range(packet.size))
    path.write_bytes(data)
    return path


Stamp = Callable[[int, float], float | None]  # number of a packet of sound and its seconds -> seconds; None: left out


def restamped(
    name: str, options: tuple[object, ...], stamp: Stamp, folder: Path, film: bool = True, dated: bool = True
) -> Path:
    """A file whose packets of sound were given other time stamps, or left out; `dated`: and are sorted by these."""
    source = made("source" + Path(name).suffix, options, folder, film)
    path = folder / name
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        streams = {s.index: new.add_stream_from_template(s) for s in old.streams if s.type in ("audio", "video")}
        kept = []
        count, first = 0, float("nan")
        for packet in old.demux([s for s in old.streams if s.index in streams]):
            if packet.dts is None:
                continue
            if packet.stream.type == "audio":
                base = packet.time_base
                assert packet.pts is not None and base is not None
                first = float(packet.pts * base) if count == 0 else first
                time = stamp(count, float(packet.pts * base) - first)
                count += 1
                if time is None:
                    continue
                packet.pts = round((time + first) / base)
                packet.dts = packet.pts if dated else packet.dts
            kept.append((float(packet.dts * packet.time_base), packet))
        for _, packet in sorted(kept, key=lambda pair: pair[0]):
            packet.stream = streams[packet.stream.index]
            new.mux(packet)
    return path


def joined(name: str, parts: tuple[tuple[object, ...], ...], folder: Path, film: bool = False) -> Path:
    """Files put one behind the other; `parts` are their options."""
    ending = Path(name).suffix
    pieces = [made(f"{i}{ending}", options, folder, film).read_bytes() for i, options in enumerate(parts)]
    path = folder / name
    path.write_bytes(b"".join(pieces))
    return path


def tracks(name: str, sources: tuple[str, ...], options: tuple[object, ...], folder: Path) -> Path:
    """Several sound tracks: "voice", "silence" or "tone", beside a small film."""
    inputs: list[object] = []
    for source in sources:
        if source == "voice":
            inputs += ["-i", voice(folder)]
        else:
            made_of = "anullsrc=r=48000:cl=mono" if source == "silence" else "sine=440:r=48000"
            inputs += ["-t", SECONDS, "-f", "lavfi", "-i", made_of]
    maps = [part for number in range(len(sources)) for part in ("-map", f"{number}:a")]
    path = folder / name
    ff(*inputs, *picture(), *maps, "-map", f"{len(sources)}:v", "-c:v", "mpeg4", *options, path)
    return path


def riff_tagged(text: bytes, folder: Path) -> Path:
    """A WAV with a title before its sound."""
    path = made("a.wav", ("-map_metadata", -1, "-fflags", "+bitexact", "-flags:a", "+bitexact"), folder)
    data = path.read_bytes()
    padded = text + b"\0" * (1 + (len(text) + 1) % 2)
    info = b"INFOINAM" + struct.pack("<I", len(text) + 1) + padded
    head = data[:4] + struct.pack("<I", len(data) + len(info)) + data[8:36]
    path.write_bytes(head + b"LIST" + struct.pack("<I", len(info)) + info + data[36:])
    return path


def covered(name: str, options: tuple[object, ...], folder: Path) -> Path:
    """With a cover picture."""
    path = folder / name
    cover = ("-f", "lavfi", "-i", "testsrc=size=64x64:duration=0.04", "-map", "0:a", "-map", "1:v")
    ff("-i", voice(folder), *cover, "-c:v", "mjpeg", "-disposition:v", "attached_pic", *options, path)
    return path


def with_extras(name: str, folder: Path) -> Path:
    """With chapters, subtitles and, in MOV, a time code track."""
    marks, lines = folder / "marks.txt", folder / "lines.srt"
    marks.write_text(";FFMETADATA1\ntitle=x\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=2000\ntitle=Gr\u00fc\u00dfe\n")
    lines.write_text("1\n00:00:00,500 --> 00:00:03,000\nHello\n")
    path = folder / name
    text = "mov_text" if path.suffix in (".mp4", ".mov", ".m4a") else "srt"
    maps = ("-map", "3:v", "-map", "2:s", "-map", "0:a", "-map_metadata", 1)
    ff("-i", voice(folder), "-i", marks, "-i", lines, *picture(), *maps, "-c:s", text, "-timecode", "01:00:00:00", path)
    return path


def twelve_channels(folder: Path) -> Path:
    """As many microphones, no layout."""
    path = folder / "a.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(12)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(np.round(np.repeat(truth()[:, None], 12, 1) * 32_767).astype("<i2").tobytes())
    return path


def bytes_file(name: str, content: bytes, folder: Path) -> Path:
    """What is no sound."""
    path = folder / name
    path.write_bytes(content)
    return path


def sample(change: Change, folder: Path) -> Path:
    """The sentence that comes with Being, its WAV changed."""
    path = folder / "a.wav"
    path.write_bytes(change(HELLO.read_bytes()))
    return path


# Changes.


def cut(share: float) -> Change:
    """The first part of a file."""
    return lambda data: data[: int(len(data) * share)]


def insert(what: bytes, share: float = 0.5) -> Change:
    """Stray bytes in the middle."""
    return lambda data: data[: int(len(data) * share)] + what + data[int(len(data) * share) :]


def replaced(old: bytes, new: bytes) -> Change:
    """The first of some bytes changed."""
    return lambda data: data.replace(old, new, 1)


def scattered(errors: int) -> Change:
    """Single bytes changed here and there behind the head of a file."""

    def change(data: bytes) -> bytes:
        random = np.random.default_rng(0)
        out = bytearray(data)
        for at in random.integers(min(8000, len(data) // 4), len(data), errors):
            out[int(at)] ^= 0x5A
        return bytes(out)

    return change


def stepped() -> Floats:
    """The truth, at each whole second 0.1 s of silence."""
    pieces = [truth()[i * RATE : (i + 1) * RATE] for i in range(4)]
    silence = np.zeros(RATE // 10, np.float32)
    return np.concatenate([pieces[0], *(part for piece in pieces[1:] for part in (silence, piece))])


def overlapped() -> Floats:
    return np.concatenate([truth(), truth()[round(0.05 * RATE) :]])


def slow() -> Floats:
    sound = truth()
    at = np.arange(round(len(sound) * 1.006)) / 1.006
    return np.interp(at, np.arange(len(sound)), sound).astype(np.float32)


def edited(name: str, folder: Path) -> Path:
    """Cut without decoding: the edit list says where playing begins."""
    path = folder / name
    ff("-ss", 1.3, "-i", made("source.m4a", AAC, folder), "-c", "copy", path)
    return path


def of_size(size: bytes, data: bytes) -> bytes:
    """A WAV whose head states another size."""
    return data[:4] + size + data[8:40] + size + data[44:]


MP3, AAC, OPUS, VORBIS = (
    ("-c:a", "libmp3lame", "-b:a", "96k"),
    ("-c:a", "aac"),
    ("-c:a", "libopus"),
    ("-c:a", "libvorbis"),
)
FLAC, AC3, PCM, MP2 = ("-c:a", "flac"), ("-c:a", "ac3"), ("-c:a", "pcm_s16le"), ("-c:a", "mp2")
CODED: tuple[tuple[str, tuple[object, ...]], ...] = (
    ("a.mp3", MP3),
    ("a.m4a", AAC),
    ("a.aac", AAC),
    ("a.flac", FLAC),
    ("a.ogg", VORBIS),
    ("a.opus", OPUS),
    ("a.mka", AAC),
    ("a.webm", OPUS),
    ("a.ac3", AC3),
    ("a.wma", ("-c:a", "wmav2")),
    ("a.wv", ("-c:a", "wavpack")),
    ("a.tta", ("-c:a", "tta")),
    ("a.ts", AAC),
    ("a.flv", MP3),
    ("b.m4a", ("-c:a", "alac")),
)
