"""Sound files with something wrong or unusual: damage, clocks, tracks, tags, several files in one; see inputs.py."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ffmpeg import ff
from inputs import Variant
from sound_faults import (
    AAC,
    AC3,
    CODED,
    FLAC,
    MP2,
    MP3,
    OPUS,
    PCM,
    VORBIS,
    Stamp,
    after,
    bytes_file,
    changed,
    covered,
    cut,
    edited,
    gap,
    insert,
    joined,
    late,
    made,
    of_size,
    overlapped,
    replaced,
    restamped,
    riff_tagged,
    sample,
    scattered,
    slow,
    spoilt,
    stepped,
    tracks,
    twelve_channels,
    twice,
    with_extras,
)
from sound_inputs import SECONDS, picture, truth

from being.samples import HELLO


def variants() -> Iterator[Variant]:
    """All of them."""
    yield from _damage()
    yield from _clock()
    yield from _several()
    yield from _tracks_and_tags()
    yield from _no_sound()


def _damage() -> Iterator[Variant]:
    # Raw streams tell no time: what is lost in them without a trace cannot be replaced.
    raw = {"a.mp3": 0.1, "a.wma": 0.05, "a.aac": 0.05, "a.ac3": 0.1, "a.ts": 0.05, "a.mka": 0.05, "a.flv": 0.05}
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
            own: dict[str, Any] = {}
            if (kind, name) == ("bytes changed", "a.flac"):  # the first of its blocks is lost: so is its time
                own = {"lag": 0.1, "seconds": SECONDS - 0.096}
            elif (kind, name) == (
                "bytes changed",
                "a.opus",
            ):  # a byte in each of its pages
                own = {"matched": 0.0}
            yield Variant("damage", f"{kind}, {name[2:]}", make, expect=expect, facts=facts | own)
    yield Variant("damage", "garbage before, mp3", partial(changed, "a.mp3", MP3, insert(b"garbage!" * 500, 0.0)))
    inside = partial(changed, "a.mp3", MP3, insert(bytes(20_000)))
    yield Variant("damage", "zeros inside, mp3", inside, facts=spoken)
    yield Variant("damage", "ends in zeros, mp3", partial(changed, "a.mp3", MP3, insert(bytes(50_000), 1.0)))
    for name, size in (("unknown", b"\xff\xff\xff\xff"), ("zero", bytes(4))):
        change = partial(of_size, size)
        yield Variant("damage", f"wav of {name} length", partial(sample, change))
    yield Variant("damage", "wav, odd end", partial(sample, cut(0.99999)))


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
        "clock", "three holes of 0.1 s, mkv", partial(restamped, "a.mkv", AAC, steps), facts=facts | {"truth": stepped}
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
    facts = {"seconds": 2 * SECONDS - 0.05, "told": ("overlap",), "truth": overlapped, "matched": 0.8}
    yield Variant("clock", "overlap of 50 ms, ts", partial(joined, "a.ts", close), facts=facts)
    drift: Stamp = lambda number, time: time * 1.006  # noqa: E731
    yield Variant(
        "clock",
        "stamps 0.6% slow, mkv",
        partial(restamped, "a.mkv", PCM, drift),
        facts={"seconds": SECONDS * 1.006, "truth": slow, "matched": 0.2},
    )
    hours: Stamp = lambda number, time: time + 36_000  # noqa: E731
    yield Variant("clock", "begins at 10 h, mka", partial(restamped, "a.mka", AAC, hours, film=False))
    yield Variant(
        "clock",
        "edit list, m4a",
        partial(edited, "a.m4a"),
        facts={"seconds": SECONDS - 1.3, "truth": partial(after, 1.3)},
    )
    for name, options in (("a.avi", MP3), ("a.avi", PCM), ("a.mpg", MP2), ("a.asf", ("-c:a", "wmav2"))):
        make = partial(made, name, options, film=True)
        facts = {
            "truth": truth,
            "seconds": SECONDS,
            "lag": 0.03,
            "matched": 0.8,
        }  # MP3 in AVI: 25 ms that it does not tell
        yield Variant("clock", f"film, {name[2:]} {options[1]}", make, facts=facts)


def _several() -> Iterator[Variant]:
    # AAC and MP3 begin with priming samples, which only the first file tells: the second is heard that much later.
    both: dict[str, Any] = {"truth": twice, "length": 2 * SECONDS, "matched": 0.85, "lag": 0.06}
    others = (("a.ac3", AC3), ("a.ts", MP2), ("a.ts", AAC), ("a.wav", PCM), ("a.mpg", MP2))
    for name, options in (*CODED[:6], *others, ("a.aiff", ("-c:a", "pcm_s16be"))):
        make = partial(joined, name, (options, options))
        yield Variant("several", f"two end to end, {name[2:]} {options[1]}", make, facts=both)
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
    for name, options in (("a.mp3", MP3), ("a.m4a", AAC), ("a.flac", FLAC), ("a.mka", OPUS)):
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
        twelve_channels,
        facts={"truth": truth, "told": ("channels",), "seconds": SECONDS},
    )
    yield Variant(
        "channels",
        "changes midway, ac3",
        partial(joined, "a.ac3", ((*AC3, "-ac", 1), (*AC3, "-ac", 6))),
        facts={"truth": twice, "seconds": 2 * SECONDS, "lag": 0.03},
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
        yield Variant("no sound", name, partial(bytes_file, "a.mp3", content), expect="refused", facts={"alone": True})
    yield Variant("no sound", "a film without", partial(_mute), expect="refused")


def _mute(folder: Path) -> Path:
    ff(*picture(), folder / "a.mp4")
    return folder / "a.mp4"
