"""Films with clocks that jump, damage, odd structure, and files that are no films: see film_inputs.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import av
import numpy as np
from ffmpeg import ff
from film_patterns import SECONDS, film
from inputs import Variant

from being.media.reading.notes import NoteKind

QUICK = "-c:v libx264 -preset ultrafast -crf 16 -g 25 -pix_fmt yuv420p"


def plain(folder: Path, name: str = "whole.mp4", options: str = QUICK, **more: object) -> Path:
    """An ordinary film to spoil."""
    if name.endswith(".mpg"):
        more["sound"] = "-c:a mp2"
    return film(folder, name, options, **more)  # type: ignore[arg-type]


def copied(
    folder: Path, name: str, *before: object, options: tuple[object, ...] = (), whole: Path | None = None
) -> Path:
    """The film's packets in another container."""
    path = folder / name
    ff(*before, "-i", whole or plain(folder), "-map", "0", "-c", "copy", *options, path)
    return path


def begun(seconds: float, folder: Path) -> Path:
    """A film whose edit list hides its beginning."""
    return copied(folder, "a.mp4", "-ss", seconds)


def late(stream: str, seconds: float, name: str, folder: Path) -> Path:
    """Pictures ("v") or sound ("a") begin later."""
    whole, path = plain(folder), folder / name
    maps = ("-map", "1:v", "-map", "0:a") if stream == "v" else ("-map", "0:v", "-map", "1:a")
    ff("-i", whole, "-itsoffset", seconds, "-i", whole, *maps, "-c", "copy", path)
    return path


def joined(lengths: tuple[float, ...], ending: str, codec: str, folder: Path) -> Path:
    """Parts of the film, each with a clock of its own, as one file."""
    whole, begun, parts = plain(folder, seconds=sum(lengths)), 0.0, []
    for index, seconds in enumerate(lengths):
        part = folder / f"part{index}.{ending}"
        ff("-ss", begun, "-i", whole, "-t", seconds, *codec.split(), part)
        parts.append(part.read_bytes())
        begun += seconds
    path = folder / f"a.{ending}"
    path.write_bytes(b"".join(parts))
    return path


def without(keep: Callable[[str, float, int], bool], name: str, folder: Path) -> Path:
    """The packets for which `keep(kind, seconds, number)` is true, their stamps as they were."""
    path = folder / name
    with av.open(str(plain(folder))) as source, av.open(str(path), "w") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in (*source.streams.video, *source.streams.audio)}
        for number, packet in enumerate(source.demux(*[source.streams[i] for i in streams])):
            if packet.dts is None or not keep(packet.stream.type, float(packet.pts * packet.time_base), number):
                continue
            packet.stream = streams[packet.stream.index]
            target.mux(packet)
    return path


def uneven(name: str, folder: Path) -> Path:
    """Pictures dropped by lot: each is shown for one to six 30ths of a second."""
    random = np.random.default_rng(4)
    numbers = "+".join(f"eq(n,{n})" for n in np.cumsum(random.integers(1, 7, 60)) if n < 30 * SECONDS)
    return film(folder, name, f"-vf select='eq(n,0)+{numbers}' -vsync vfr {QUICK}", rate=30.0)


def spoiled(ending: str, spoil: Callable[[bytearray], bytes | bytearray], folder: Path, options: str = QUICK) -> Path:
    """A film whose bytes were changed."""
    whole = plain(folder, f"whole.{ending}", options)
    path = folder / f"a.{ending}"
    path.write_bytes(bytes(spoil(bytearray(whole.read_bytes()))))
    return path


def flipped(share: float, first: float, data: bytearray) -> bytearray:
    """Random bytes in the part of a file from `first` on."""
    random = np.random.default_rng(1)
    for place in random.integers(int(first * len(data)), len(data), int(share * len(data))):
        data[place] = random.integers(256)
    return data


def zeroed(first: float, last: float, data: bytearray) -> bytearray:
    """A lost stretch that a copy filled with zeros."""
    a, b = int(first * len(data)), int(last * len(data))
    data[a:b] = bytes(b - a)
    return data


def cut(share: float, data: bytearray) -> bytearray:
    """The file's first part alone."""
    return data[: int(share * len(data))]


def headless(share: float, data: bytearray) -> bytearray:
    """The file's last part alone, with a little rubbish before it."""
    return bytearray(b"rubbish" * 40) + data[int(share * len(data)) :]


def resized(folder: Path) -> Path:
    """A broadcast that changes its size midway."""
    small, large = plain(folder, "one.ts"), plain(folder, "two.ts", size=(640, 480))
    path = folder / "a.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    return path


def furnished(folder: Path) -> Path:
    """Chapters, subtitles, an attachment, a cover and tags in a wrong encoding around the film."""
    whole, path = plain(folder), folder / "a.mkv"
    (folder / "s.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nhello\n")
    (folder / "c.txt").write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1\nSTART=0\nEND=2\ntitle=one\n")
    (folder / "font.ttf").write_bytes(bytes(2000))
    ff("-i", whole, "-i", folder / "s.srt", "-i", folder / "c.txt", "-map", "0", "-map", "1", "-map_metadata", "2",
       "-attach", folder / "font.ttf", "-metadata:s:t", "mimetype=font/ttf", "-metadata", "title=caf\udce9",
       "-c", "copy", "-c:s", "srt", path)  # fmt: skip
    return path


def covered(folder: Path) -> Path:
    """A song with a cover picture."""
    whole, path = plain(folder), folder / "a.m4a"
    ff("-i", whole, "-frames:v", 1, folder / "cover.png")
    ff(
        "-i",
        whole,
        "-i",
        folder / "cover.png",
        "-map",
        "0:a",
        "-map",
        "1",
        "-c",
        "copy",
        "-disposition:v:0",
        "attached_pic",
        path,
    )
    return path


def written(name: str, content: bytes, folder: Path) -> Path:
    """A file of these bytes."""
    (folder / name).write_bytes(content)
    return folder / name


def single(folder: Path) -> Path:
    """One picture as a film."""
    return film(folder, "a.mp4", QUICK, seconds=0.04, sound="")


def variants() -> Iterator[Variant]:
    """All of them."""
    hole, join, short = [NoteKind.HOLE], [NoteKind.JOINED], [NoteKind.CUT_OFF]
    for name in ("a.mp4", "a.mkv"):
        yield Variant(
            "clock", f"{name[2:]} uneven", partial(uneven, name), facts={"rate": 5.0, "length": SECONDS, "off": 0.2}
        )
    for stream, seconds, name in (
        ("v", 0.4, "a.mp4"),
        ("v", 1.2, "a.mkv"),
        ("a", 0.5, "a.mp4"),
        ("a", 0.3, "a.ts"),
        ("a", 1.5, "a.mkv"),
    ):
        facts = {"repaired": True, "length": SECONDS, "shift": seconds if stream == "v" else -seconds}
        facts["told"] = [NoteKind.LATE]
        yield Variant(
            "clock", f"{name[2:]} {stream} {seconds} s late", partial(late, stream, seconds, name), facts=facts
        )
    yield Variant(
        "clock",
        "mp4 edit list, begins at 1.3 s",
        partial(begun, 1.3),
        facts={"off": 0.2, "length": SECONDS - 1.3, "repaired": True},
    )
    again = "-c:v libx264 -preset ultrafast -crf 16 -g 25 -c:a aac -f mpegts"
    for lengths in ((2.0, 3.0), (4.0, 1.0), (1.5, 1.5, 2.0)):
        facts = {"told": join, "length": SECONDS, "off": 0.2, "repaired": True, "rate": 8.0}
        yield Variant(
            "clock",
            f"ts of {len(lengths)} parts, {lengths[0]} s first",
            partial(joined, lengths, "ts", again),
            facts=facts,
        )
    dvd = "-c:v mpeg2video -q:v 2 -bf 2 -c:a mp2 -f vob"
    facts = {"told": join, "length": SECONDS, "off": 0.2, "repaired": True, "rate": 8.0}
    yield Variant("clock", "vob of 2 parts", partial(joined, (2.0, 3.0), "vob", dvd), facts=facts)
    yield Variant("clock", "ts at 26 h", partial(copied, name="a.ts", options=("-output_ts_offset", 95_440)))
    yield Variant(
        "clock", "ts, its counter wraps", partial(copied, name="a.ts", options=("-output_ts_offset", 95_441.5))
    )
    yield Variant("clock", "mp4 at 1 h", partial(copied, name="a.mp4", options=("-output_ts_offset", 3600)))
    yield Variant("clock", "flv from 20 s on", partial(copied, name="a.flv", options=("-output_ts_offset", 20)))
    yield Variant("clock", "mkv without a duration", partial(copied, name="a.mkv", options=("-live", 1)))

    def no_picture(kind: str, at: float, number: int) -> bool:
        return kind != "video" or not 2 <= at < 3

    def nothing(kind: str, at: float, number: int) -> bool:
        return not 2 <= at < 3

    def no_sound(kind: str, at: float, number: int) -> bool:
        return kind != "audio" or not 2 <= at < 3

    def some(kind: str, at: float, number: int) -> bool:
        return kind != "video" or at == 0 or number % 10 != 3

    yield Variant("clock", "mp4 hole in the pictures", partial(without, no_picture, "a.mp4"), facts={"told": hole})
    yield Variant("clock", "mkv hole in both", partial(without, nothing, "a.mkv"), facts={"told": hole})
    yield Variant("clock", "mp4 hole in the sound", partial(without, no_sound, "a.mp4"), facts={"told": hole})
    yield Variant(
        "damage",
        "mp4 a tenth of the pictures missing",
        partial(without, some, "a.mp4"),
        facts={"rate": 1.5, "colour": 255.0},
    )
    mpeg2 = "-c:v mpeg2video -q:v 2 -g 12"
    # Spoiled pictures cannot be read off; a wrong clock would move the others, too.
    rough = {"repaired": True, "rate": 2.0, "colour": 255.0, "share": 20}
    for ending, options in (
        ("ts", QUICK),
        ("mkv", QUICK),
        ("mp4", QUICK),
        ("mpg", mpeg2),
        ("avi", "-c:v mpeg4 -q:v 2 -g 25"),
        ("mkv", "-c:v ffv1"),
    ):
        name = options.split()[1]
        last = 0.3 if ending != "mp4" else 0.1
        yield Variant(
            "damage",
            f"{ending} {name} wrong bytes",
            partial(spoiled, ending, partial(flipped, 0.0002, last), options=options),
            facts={**rough, "off": 1.0},
        )
    for ending in ("ts", "mkv", "mp4", "flv"):
        yield Variant(
            "damage",
            f"{ending} a tenth is zeros",
            partial(spoiled, ending, partial(zeroed, 0.4, 0.5)),
            facts={**rough, "off": 1.0},
        )
    for ending in ("ts", "mkv", "flv"):
        yield Variant("damage", f"{ending} cut off", partial(spoiled, ending, partial(cut, 0.7)), facts=rough)
    front = QUICK + " -movflags faststart"
    yield Variant(
        "damage",
        "mp4 cut off at 70 %",
        partial(spoiled, "mp4", partial(cut, 0.7), options=front),
        facts={**rough, "told": short},
    )
    yield Variant("damage", "mp4 cut off at 30 %", partial(spoiled, "mp4", partial(cut, 0.3), options=front), "refused")
    yield Variant("damage", "mp4 without its index", partial(spoiled, "mp4", partial(cut, 0.7)), "refused")
    yield Variant("damage", "ts begins anywhere", partial(spoiled, "ts", partial(headless, 0.3)), facts=rough)
    yield Variant(
        "damage",
        "mostly wrong bytes",
        partial(spoiled, "mkv", partial(flipped, 0.2, 0.02), options="-c:v ffv1"),
        "refused",
    )
    yield Variant("structure", "ts changes its size", resized, facts={"told": join, "repaired": True, "rate": 0.2})
    yield Variant("structure", "mkv with everything around it", furnished)
    yield Variant("structure", "mp4 without sound", partial(film, name="a.mp4", options=QUICK, sound=""))
    yield Variant("no film", "a song with a cover", covered, "refused")
    yield Variant(
        "no film", "sound alone", partial(lambda folder: copied(folder, "a.m4a", options=("-vn",))), "refused"
    )
    yield Variant("no film", "a single picture", single, "refused")
    yield Variant("no film", "text", partial(written, "a.mp4", b"not a film\n" * 500), "refused")
    yield Variant("no film", "empty", partial(written, "a.mp4", b""), "refused")
    yield Variant("no film", "zeros", partial(written, "a.mov", bytes(50_000)), "refused")
    noise = np.random.default_rng(0).integers(0, 256, 50_000).astype(np.uint8).tobytes()
    yield Variant("no film", "noise", partial(written, "a.mkv", noise), "refused")
    yield Variant("no film", "a playlist", partial(written, "a.m3u8", b"#EXTM3U\n#EXTINF:4,\n/etc/passwd\n"), "refused")
