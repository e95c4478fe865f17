"""Sound files with something wrong or unusual: damage, clocks, tracks, tags, several files in one; see inputs.py."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from inputs import Variant
from sound_inputs import RATE, SECONDS, Floats, ff, picture, truth, voice

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


def variants() -> Iterator[Variant]:
    """All of them."""
    yield from _damage()
    yield from _clock()
    yield from _several()
    yield from _tracks_and_tags()
    yield from _no_sound()


def _damage() -> Iterator[Variant]:
    # Raw streams tell no time: what is lost in them without a trace cannot be replaced.
    raw = {"a.mp3": 0.1, "a.aac": 0.05, "a.ac3": 0.1, "a.ts": 0.05, "a.mka": 0.05, "a.flv": 0.05}
    spoken: dict[str, Any] = {"truth": truth, "matched": 0.45, "length": SECONDS}
    for name, options in CODED:
        facts = spoken | {"lag": raw.get(name, 0.02)}
        make = partial(spoilt, name, options, 0.5, 2)
        yield Variant("damage", f"packets spoilt, {name[2:]} {options[1]}", make, facts=facts)
        index = name.endswith(".m4a")  # at the end
        make = partial(changed, name, options, cut(0.7))
        yield Variant("damage", f"cut off, {name[2:]} {options[1]}", make, expect="refused" if index else "read")
    for name, options in CODED[:9]:
        facts = spoken | {"lag": raw.get(name, 0.02)}
        change = insert(b"<html>502 Bad Gateway</html>" * 20)
        for kind, how in (("stray bytes", change), ("bytes changed", scattered(6))):
            refused = (kind, name) in (("stray bytes", "a.m4a"), ("bytes changed", "a.ogg"))  # ffmpeg refuses them, too
            expect = "refused" if refused else "read"
            make = partial(changed, name, options, how)
            yield Variant("damage", f"{kind}, {name[2:]}", make, expect=expect, facts=facts)
    yield Variant("damage", "garbage before, mp3", partial(changed, "a.mp3", MP3, insert(b"garbage!" * 500, 0.0)))
    inside = partial(changed, "a.mp3", MP3, insert(bytes(20_000)))
    yield Variant("damage", "zeros inside, mp3", inside, facts=spoken)
    yield Variant("damage", "ends in zeros, mp3", partial(changed, "a.mp3", MP3, insert(bytes(50_000), 1.0)))
    for name, size in (("unknown", b"\xff\xff\xff\xff"), ("zero", bytes(4))):
        change = partial(_of_size, size)
        yield Variant("damage", f"wav of {name} length", partial(sample, change))
    yield Variant("damage", "wav, odd end", partial(sample, cut(0.99999)))


def _of_size(size: bytes, data: bytes) -> bytes:
    return data[:4] + size + data[8:40] + size + data[44:]


def _clock() -> Iterator[Variant]:
    kinds = (("mp4", AAC), ("mkv", OPUS), ("ts", AAC), ("ts", MP2), ("webm", VORBIS), ("mka", FLAC), ("mka", PCM))
    hole: Stamp = lambda number, time: None if 1.5 <= time < 2.5 else time  # noqa: E731
    for ending, options in kinds:
        lag = 0.03 if options is AAC and ending != "mp4" else 0.02  # priming samples that these formats do not tell
        film = ending not in ("webm", "mka")
        facts = {"truth": partial(gap, 1.5, 1.0), "seconds": SECONDS, "told": ("hole",), "matched": 0.85, "lag": lag}
        make = partial(restamped, f"a.{ending}", options, hole, film=film)
        yield Variant("clock", f"hole of 1 s, {ending} {options[1]}", make, facts=facts)
    steps: Stamp = lambda number, time: time + 0.1 * min(int(time), 3)  # noqa: E731
    facts = {"seconds": SECONDS + 0.3, "told": ("hole",), "lag": 0.03}
    yield Variant(
        "clock", "three holes of 0.1 s, mkv", partial(restamped, "a.mkv", AAC, steps), facts=facts | {"truth": _stepped}
    )
    for ending, options in (("mp4", AAC), ("mkv", OPUS), ("ts", MP2)):
        shift: Stamp = lambda number, time: time + 0.7  # noqa: E731
        facts = {"truth": partial(late, 0.7), "seconds": SECONDS + 0.7, "told": ("late",)}
        make = partial(restamped, f"a.{ending}", options, shift)
        yield Variant("clock", f"sound 0.7 s late, {ending}", make, facts=facts)
    random = np.random.default_rng(0)
    noise = random.uniform(-1, 1, 10_000)
    for millis in (5, 20, 40):
        tremble: Stamp = lambda number, time, a=millis: max(0, time + a / 1000 * float(noise[number]))  # noqa: E731
        make = partial(restamped, "a.mkv", MP3, tremble, film=False)
        yield Variant("clock", f"stamps tremble by {millis} ms, mkv", make)
    stray: Stamp = lambda number, time: time + (7.0 if number == 60 else 0.0)  # noqa: E731
    yield Variant("clock", "one stray stamp, mkv", partial(restamped, "a.mkv", MP3, stray, dated=False))
    close: tuple[tuple[object, ...], ...] = (MP2, (*MP2, "-output_ts_offset", SECONDS - 0.05))
    facts = {"seconds": 2 * SECONDS - 0.05, "told": ("overlap",), "truth": _overlapped, "matched": 0.8}
    yield Variant("clock", "overlap of 50 ms, ts", partial(joined, "a.ts", close), facts=facts)
    drift: Stamp = lambda number, time: time * 1.006  # noqa: E731
    yield Variant(
        "clock",
        "stamps 0.6% slow, mkv",
        partial(restamped, "a.mkv", MP3, drift),
        facts={"seconds": SECONDS * 1.006, "truth": _slow},
    )
    hours: Stamp = lambda number, time: time + 36_000  # noqa: E731
    yield Variant("clock", "begins at 10 h, mka", partial(restamped, "a.mka", AAC, hours, film=False))
    yield Variant(
        "clock",
        "edit list, m4a",
        partial(_edited, "a.m4a"),
        facts={"seconds": SECONDS - 1.3, "truth": partial(after, 1.3)},
    )
    for name, options in (("a.avi", MP3), ("a.avi", PCM), ("a.mpg", MP2), ("a.asf", ("-c:a", "wmav2"))):
        yield Variant(
            "clock", f"film, {name[2:]} {options[1]}", partial(made, name, options, film=True), facts={"matched": 0.8}
        )


def _stepped() -> Floats:
    """The truth, at each whole second 0.1 s of silence."""
    pieces = [truth()[i * RATE : (i + 1) * RATE] for i in range(4)]
    silence = np.zeros(RATE // 10, np.float32)
    return np.concatenate([pieces[0], *(part for piece in pieces[1:] for part in (silence, piece))])


def _overlapped() -> Floats:
    return np.concatenate([truth(), truth()[round(0.05 * RATE) :]])


def _slow() -> Floats:
    sound = truth()
    at = np.arange(round(len(sound) * 1.006)) / 1.006
    return np.interp(at, np.arange(len(sound)), sound).astype(np.float32)


def _edited(name: str, folder: Path) -> Path:
    """Cut without decoding: the edit list says where playing begins."""
    path = folder / name
    ff("-ss", 1.3, "-i", made("source.m4a", AAC, folder), "-c", "copy", path)
    return path


def _several() -> Iterator[Variant]:
    both = {"truth": twice, "seconds": 2 * SECONDS, "matched": 0.85}
    for name, options in (
        *CODED[:6],
        ("a.ac3", AC3),
        ("a.ts", MP2),
        ("a.ts", AAC),
        ("a.wav", PCM),
        ("a.aiff", ("-c:a", "pcm_s16be")),
        ("a.mpg", MP2),
    ):
        facts = dict(both)
        if name.endswith((".mp3", ".ts", ".aac", ".ac3", ".mpg", ".m4a")):
            facts |= {"truth": partial(twice, 2, 0.03), "lag": 0.1}
        yield Variant(
            "several",
            f"two end to end, {name[2:]} {options[1]}",
            partial(joined, name, (options, options)),
            facts=facts,
        )
    rates: tuple[tuple[object, ...], ...] = ((*PCM, "-ar", 16_000, "-ac", 1), (*PCM, "-ar", 44_100))
    yield Variant("several", "two wav of other rates", partial(joined, "a.wav", rates), facts=both)
    rates = ((*MP3, "-ar", 24_000, "-ac", 1), (*MP3, "-ar", 44_100))
    yield Variant("several", "two mp3 of other rates", partial(joined, "a.mp3", rates), facts=both)
    yield Variant(
        "several",
        "ten wav",
        partial(joined, "a.wav", (PCM,) * 10),
        facts={"truth": partial(twice, 10), "seconds": 10 * SECONDS},
    )
    yield Variant(
        "several", "two films, ts", partial(joined, "a.ts", (AAC, AAC), film=True), facts=both | {"told": ("joined",)}
    )
    yield Variant("several", "two films, mpg", partial(joined, "a.mpg", (MP2, MP2), film=True), facts=both)
    yield Variant(
        "several",
        "second begins at 1 h, ts",
        partial(joined, "a.ts", (AAC, (*AAC, "-output_ts_offset", 3600))),
        facts=both | {"told": ("joined",)},
    )
    yield Variant("several", "wav and text behind", partial(sample, insert(b"RIFFjust some text" * 9, 1.0)))


def _tracks_and_tags() -> Iterator[Variant]:
    second: tuple[object, ...] = (*AAC, "-disposition:a:0", 0, "-disposition:a:1", "default")
    told = {"ffmpeg_track": 2, "told": ("track",)}
    yield Variant("tracks", "silent first, mkv", partial(tracks, "a.mkv", ("silence", "voice"), AAC), facts=told)
    yield Variant("tracks", "silent first, mp4", partial(tracks, "a.mp4", ("silence", "voice"), AAC), facts=told)
    yield Variant("tracks", "default second, mkv", partial(tracks, "a.mkv", ("tone", "voice"), second), facts=told)
    yield Variant(
        "tracks",
        "asked for the third, mkv",
        partial(tracks, "a.mkv", ("tone", "silence", "voice"), AAC),
        facts={"track": 3},
    )
    yield Variant(
        "tracks",
        "asked for a fourth, mkv",
        partial(tracks, "a.mkv", ("tone", "voice"), AAC),
        expect="refused",
        facts={"track": 4},
    )
    comment: tuple[object, ...] = (*AAC, "-disposition:a:0", "comment", "-disposition:a:1", 0)
    yield Variant("tracks", "commentary first, mkv", partial(tracks, "a.mkv", ("tone", "voice"), comment), facts=told)
    for name, text in (
        ("UTF-8", "Grüße".encode()),
        ("Latin-1", "Grüße".encode("latin-1")),
        ("GBK", "录音".encode("gbk")),
        ("bytes", bytes(range(128, 255))),
    ):
        yield Variant("tags", f"wav, title in {name}", partial(riff_tagged, text))
    for name, options in (("a.mp3", MP3), ("a.m4a", AAC), ("a.flac", FLAC)):
        yield Variant("tags", f"cover, {name[2:]}", partial(covered, name, options))
    spoil = replaced(b"Lavf", b"\xe4\xf6\xfc\xff")
    for name, options in (("a.mp3", MP3), ("a.m4a", AAC), ("a.ogg", VORBIS), ("a.flac", FLAC), ("a.mka", OPUS)):
        yield Variant("tags", f"not UTF-8, {name[2:]}", partial(changed, name, options, spoil))
    handler = replaced(b"SoundHandler", b"S\xf8undHandler")
    yield Variant("tags", "handler in Latin-1, mp4", partial(changed, "a.mp4", AAC, handler))
    for name in ("a.mov", "a.mp4", "a.mkv"):
        yield Variant("tags", f"chapters, subtitles, time code, {name[2:]}", partial(with_extras, name))
    antiphase = ("-af", "pan=stereo|c0=c0|c1=-1*c0")
    heard = {"truth": truth, "told": ("channels",)}
    for name, options in (("a.wav", PCM), ("a.flac", FLAC), ("a.m4a", AAC)):
        yield Variant(
            "channels",
            f"opposite, {name[2:]}",
            partial(made, name, (*antiphase, *options)),
            facts=heard | {"model": True},
        )
    yield Variant("channels", "right one only, wav", partial(made, "a.wav", ("-af", "pan=stereo|c1=c0", *PCM)))
    yield Variant(
        "channels",
        "12 without a layout, wav",
        partial(made, "a.wav", ("-af", "pan=12c|" + "|".join(f"c{i}=0.9*c0" for i in range(12)), *PCM)),
        facts={"truth": truth, "told": ("channels",)},
    )
    yield Variant(
        "channels",
        "changes midway, ac3",
        partial(joined, "a.ac3", ((*AC3, "-ac", 1), (*AC3, "-ac", 6))),
        facts={"truth": partial(twice, 2, 0.03), "seconds": 2 * SECONDS},
    )


def _no_sound() -> Iterator[Variant]:
    noise = np.random.default_rng(1).bytes(200_000)
    nothing = {
        "nothing": b"",
        "text": b"This is a text. " * 100,
        "a web page": b"<!DOCTYPE html><html><body>404</body></html>" * 50,
        "zeros": bytes(100_000),
        "noise": noise,
        "a ZIP": b"PK\x03\x04" + noise[:1000],
        "a PNG": b"\x89PNG\r\n\x1a\n" + noise[:1000],
        "MIDI": b"MThd\0\0\0\6\0\1\0\1\0\x60" + noise[:500],
        "a playlist": b"#EXTM3U\n#EXTINF:4,\nhttp://127.0.0.1/a.ts\n",
        "the head of a WAV": HELLO.read_bytes()[:44],
        "half a head": HELLO.read_bytes()[:20],
        "OggS and noise": b"OggS" + noise[:5000],
        "ftyp and noise": b"\0\0\0\x20ftypisom" + noise[:5000],
        "ID3 and noise": b"ID3\4\0\0\0\0\x0f\x7f" + noise[:60_000],
    }
    for name, content in nothing.items():
        yield Variant("no sound", name, partial(bytes_file, "a.mp3", content), expect="refused")
    yield Variant("no sound", "a film without", partial(_mute), expect="refused")


def _mute(folder: Path) -> Path:
    ff(*picture(), folder / "a.mp4")
    return folder / "a.mp4"
