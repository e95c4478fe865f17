"""Films by container, codec, rate, fields, colour, depth and turn, and the comparison with ffmpeg: see inputs.py."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ffmpeg import ff
from film_patterns import PATCHES, Floats, Picture, by_ffmpeg, film, patches_of, time_of, times_heard
from inputs import Variant, peak_mb

from being.capture.video.sound import film_sound
from being.errors import BeingError
from being.media.reading.film_reader import open_film
from being.media.reading.notes import NoteKind
from being.media.reading.tone_map import GAMMA, PEAK, WHITE, light_to_pq

LENGTH_S = 0.08  # two pictures at 25 a second
COLOUR = 6.0  # grey levels by which a patch may be off, where ffmpeg is not farther off itself
REPAIRED = (NoteKind.HOLE, NoteKind.JOINED, NoteKind.DAMAGE, NoteKind.CUT_OFF, NoteKind.LATE)
QUICK = "-c:v libx264 -preset ultrafast -crf 16 -pix_fmt yuv420p"
VP9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -crf 15 -b:v 0"
FORMATS: tuple[tuple[str, str, str], ...] = (  # ending, picture, sound
    ("mp4", QUICK, "aac"),
    ("mp4", "-c:v libx265 -preset ultrafast -crf 16 -x265-params log-level=none -pix_fmt yuv420p", "aac"),
    ("mp4", "-c:v mpeg4 -q:v 2 -bf 2", "aac"),
    ("mp4", "-c:v libaom-av1 -cpu-used 8 -crf 20 -row-mt 1 -pix_fmt yuv420p", "aac"),
    ("mp4", VP9, "libopus"),
    ("mp4", "-c:v mjpeg -q:v 2", "aac"),
    ("mp4", f"{QUICK} -movflags frag_keyframe+empty_moov", "aac"),
    ("mp4", f"{QUICK} -movflags faststart", "ac3"),
    ("mov", QUICK, "pcm_s16le"),
    ("mov", "-c:v mjpeg -q:v 2 -pix_fmt yuvj422p", "pcm_s16le"),
    ("mov", "-c:v prores_ks", "pcm_s24le"),
    ("mov", "-c:v dnxhd -profile:v dnxhr_sq -pix_fmt yuv422p", "pcm_s16le"),
    ("mov", "-c:v qtrle -pix_fmt rgb24", "pcm_s16le"),
    ("mov", "-c:v png", "pcm_s16le"),
    ("mov", "-c:v svq1", "adpcm_ima_qt"),
    ("mkv", QUICK, "libvorbis"),
    ("mkv", "-c:v libx265 -preset ultrafast -crf 16 -x265-params log-level=none -pix_fmt yuv420p", "flac"),
    ("mkv", "-c:v ffv1", "flac"),
    ("mkv", "-c:v mpeg2video -q:v 2 -bf 2", "mp2"),
    ("mkv", "-c:v libtheora -q:v 9", "libvorbis"),
    ("mkv", "-c:v huffyuv -pix_fmt yuv422p", "pcm_s16le"),
    ("mkv", "-c:v utvideo -pix_fmt yuv420p", "pcm_s16le"),
    ("webm", "-c:v libvpx -deadline realtime -cpu-used 8 -crf 8 -b:v 3M -auto-alt-ref 1", "libvorbis"),
    ("webm", VP9, "libopus"),
    ("avi", "-c:v mpeg4 -q:v 2", "libmp3lame"),
    ("avi", "-c:v mpeg4 -q:v 2 -bf 2", "libmp3lame"),
    ("avi", "-c:v libxvid -q:v 2", "libmp3lame"),
    ("avi", QUICK, "libmp3lame"),
    ("avi", "-c:v mjpeg -q:v 2", "pcm_s16le"),
    ("avi", "-c:v msmpeg4v2 -q:v 2", "ac3"),
    ("avi", "-c:v msmpeg4 -q:v 2", "libmp3lame"),
    ("avi", "-c:v rawvideo -pix_fmt yuv420p", "pcm_s16le"),
    ("avi", "-c:v rawvideo -pix_fmt bgr24", "pcm_s16le"),
    ("avi", "-c:v cinepak", "pcm_u8"),
    ("ts", QUICK, "aac"),
    ("ts", "-c:v libx265 -preset ultrafast -crf 16 -x265-params log-level=none -pix_fmt yuv420p", "aac"),
    ("ts", "-c:v mpeg2video -q:v 2 -bf 2", "mp2"),
    ("m2ts", QUICK, "ac3"),
    ("mpg", "-c:v mpeg1video -q:v 2 -bf 2", "mp2"),
    ("vob", "-c:v mpeg2video -q:v 2 -bf 2", "ac3"),
    ("flv", "-c:v flv -q:v 2", "libmp3lame"),
    ("flv", QUICK, "aac"),
    ("wmv", "-c:v wmv2 -q:v 2", "wmav2"),
    ("asf", "-c:v wmv1 -q:v 2", "wmav1"),
    ("ogv", "-c:v libtheora -q:v 9", "libvorbis"),
    ("nut", QUICK, "libvorbis"),
    ("mxf", "-c:v mpeg2video -q:v 2", "pcm_s16le"),
)
RATES = (10.0, 12.0, 15.0, 24000 / 1001, 24.0, 30000 / 1001, 30.0, 48.0, 50.0, 60000 / 1001, 60.0, 90.0, 120.0)


def by_codec(ending: str, options: str, sound: str, folder: Path) -> Path:
    """The pattern as one format."""
    return film(folder, f"a.{ending}", options, sound=f"-c:a {sound}")


def interlaced(
    name: str, options: str, top: bool, folder: Path, size: tuple[int, int] = (720, 576), declared: bool = True
) -> Path:
    """50 pictures a second woven to 25 of two fields each."""
    weave = f"-vf interlace=scan={'tff' if top else 'bff'}:lowpass=off{'' if declared else ',setfield=prog'}"
    return film(
        folder,
        name,
        f"{weave} {options}",
        size=size,
        rate=50.0,
        sound="-c:a pcm_s16le" if "dv" in options else "-c:a mp2",
    )


def light_2020(shown: Picture) -> Floats:
    """Standard colours as light in cd/m2, BT.2020 primaries (ITU-R BT.2087)."""
    to_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    return np.asarray(WHITE * ((shown / 255.0) ** GAMMA @ to_2020.T))


def as_pq(shown: Picture) -> bytes:
    """As PQ film shows them: 48-bit RGB."""
    return np.round(65535 * light_to_pq(light_2020(shown))).astype("<u2").tobytes()


def as_hlg(shown: Picture) -> bytes:
    """As HLG film shows them on a display of 1000 cd/m2 (ITU-R BT.2100 table 5): 48-bit RGB."""
    light = light_2020(shown) / PEAK
    luminance = np.maximum((light * (0.2627, 0.6780, 0.0593)).sum(-1, keepdims=True), 1e-9)
    scene = light * luminance ** (1 / 1.2 - 1)
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.round(65535 * np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)).astype("<u2").tobytes()


def turned(degrees: int, folder: Path) -> Path:
    """A film with a display matrix; the pattern stands upright after it is followed."""
    shown = {90: "transpose=clock", 180: "hflip,vflip", 270: "transpose=cclock"}[degrees]
    whole = film(folder, "upright.mp4", f"-vf {shown} {QUICK}")
    path = folder / "a.mp4"
    ff("-i", whole, "-c", "copy", "-metadata:s:v:0", f"rotate={degrees}", path)
    return path


def variants() -> Iterator[Variant]:
    """All of them."""
    import film_faults

    for ending, options, sound in FORMATS:
        codec = options.replace(QUICK, "-c:v libx264").split()
        name = f"{ending} {codec[1]} {' '.join(codec[2:6]) if 'bf' in options or 'mov' in options else ''}".strip()
        yield Variant("format", f"{name} {sound}", partial(by_codec, ending, options, sound))
    for rate in RATES:
        yield Variant(
            "rate",
            f"mp4 {rate:.2f} a second",
            partial(film, name="a.mp4", options=QUICK, rate=rate),
            facts={"rate": rate},
        )
    groups = {
        "all key": "-g 1",
        "open, 8 B": "-g 100 -bf 8 -x264-params open-gop=1",
        "long": "-g 250",
        "refresh": "-x264-params intra-refresh=1",
    }
    for name, options in groups.items():
        pictures = QUICK.replace("ultrafast", "veryfast")
        yield Variant("groups of pictures", name, partial(film, name="a.ts", options=f"{pictures} {options}"))
    mpeg2 = "-c:v mpeg2video -q:v 2 -flags +ildct+ilme"
    fields: dict[str, tuple[str, str, bool]] = {
        "mpeg2 ts top": ("a.ts", mpeg2, True),
        "mpeg2 vob bottom": ("a.vob", mpeg2 + " -bf 2", False),
        "h264 mp4 top": ("a.mp4", f"{QUICK} -x264-params tff=1", True),
        "h264 ts bottom": ("a.ts", f"{QUICK} -x264-params bff=1", False),
        "dv avi bottom": ("a.avi", "-c:v dvvideo -pix_fmt yuv420p", False),
        "prores mov top": ("a.mov", "-c:v prores_ks -flags +ildct", True),
    }
    for name, (file, options, top) in fields.items():
        yield Variant(
            "interlaced",
            name,
            partial(interlaced, file, options, top),
            facts={"told": [NoteKind.FIELDS], "fields": True},
        )
    undeclared = {
        "h264 mp4 top": ("a.mp4", QUICK, True),
        "h264 mkv bottom": ("a.mkv", QUICK, False),
        "mpeg4 avi top": ("a.avi", "-c:v mpeg4 -q:v 2", True),
    }
    for name, (file, options, top) in undeclared.items():
        yield Variant(
            "interlaced",
            f"{name}, not declared",
            partial(interlaced, file, options, top, declared=False),
            facts={"told": [NoteKind.FIELDS], "fields": True},
        )
    hd, sd = (1280, 720), (320, 240)
    to709, to601 = "-vf scale=out_color_matrix=bt709", "-vf scale=out_color_matrix=bt601"
    tag709, tag601 = "-colorspace bt709 -color_primaries bt709 -color_trc bt709", "-colorspace smpte170m"
    full = "-vf scale=out_color_matrix=bt709:out_range=full -color_range pc"
    colours: dict[str, tuple[str, tuple[int, int]]] = {
        "HD, no tags": (f"{to709} {QUICK}", hd),
        "HD BT.709": (f"{to709} {QUICK} {tag709}", hd),
        "HD BT.601": (f"{to601} {QUICK} {tag601}", hd),
        "SD, no tags": (f"{to601} {QUICK}", sd),
        "SD BT.709": (f"{to709} {QUICK} {tag709}", sd),
        "SD BT.601": (f"{to601} {QUICK} {tag601}", sd),
        "SD full range": (f"{full} {QUICK} {tag709}", sd),
        "HD full range": (f"{full} {QUICK} {tag709}", hd),
        "SD full range, no matrix": ("-vf scale=out_color_matrix=bt601:out_range=full -color_range pc " + QUICK, sd),
        "4:4:4": (f"{to709} -c:v libx264 -preset ultrafast -crf 12 -pix_fmt yuv444p {tag709}", sd),
        "4:2:2": (f"{to709} -c:v libx264 -preset ultrafast -crf 12 -pix_fmt yuv422p {tag709}", sd),
        "RGB": ("-c:v libx264rgb -preset ultrafast -crf 12", sd),
        "BT.2020 matrix": (f"-vf scale=out_color_matrix=bt2020 {QUICK} -colorspace bt2020nc", sd),
        "10 bits": (f"{to709} -c:v libx264 -preset ultrafast -crf 12 -pix_fmt yuv420p10le {tag709}", sd),
        "10 bits, HEVC": (
            f"{to709} -c:v libx265 -preset ultrafast -crf 12 -x265-params log-level=none -pix_fmt yuv420p10le {tag709}",
            sd,
        ),
        "12 bits, HEVC": (
            f"{to709} -c:v libx265 -preset ultrafast -crf 12 -x265-params log-level=none -pix_fmt yuv422p12le {tag709}",
            sd,
        ),
    }
    for name, (options, size) in colours.items():
        yield Variant("colour", f"mp4 {name}", partial(film, name="a.mp4", options=options, size=size))
    deep = (
        "-vf scale=out_color_matrix=bt2020 -c:v libx265 -preset ultrafast -crf 10 -pix_fmt yuv420p10le "
        "-colorspace bt2020nc -color_primaries bt2020"
    )
    for name, curve, before in (("PQ", "smpte2084", as_pq), ("HLG", "arib-std-b67", as_hlg)):
        options = f"{deep} -color_trc {curve} -x265-params log-level=none"
        make = partial(film, name="a.mp4", raw="rgb48le", before=before, options=options)
        yield Variant("colour", f"mp4 HDR {name}", make, facts={"told": [NoteKind.COLOUR], "colour": 8.0})
    for name, options in {
        "16 bits ffv1": "-c:v ffv1 -pix_fmt rgb48le",
        "10 bits vp9": f"{VP9} -profile:v 2 -pix_fmt yuv420p10le",
    }.items():
        yield Variant("depth", f"mkv {name}", partial(film, name="a.mkv", options=options, sound="-c:a flac"))
    yield Variant(
        "depth",
        "mov prores 4444 alpha",
        partial(film, name="a.mov", options="-c:v prores_ks -profile:v 4444 -pix_fmt yuva444p10le"),
    )
    yield Variant(
        "depth", "mkv grey", partial(film, name="a.mkv", options="-c:v ffv1 -pix_fmt gray"), facts={"colour": None}
    )
    for degrees in (90, 180, 270):
        yield Variant("turned", f"mp4 by {degrees}", partial(turned, degrees))
    yield Variant(
        "shape", "mp4 pixels 16:11", partial(film, name="a.mp4", options=f"{QUICK} -vf setsar=16/11", size=(704, 576))
    )
    yield Variant(
        "shape", "mkv 321x241", partial(film, name="a.mkv", options="-c:v ffv1 -pix_fmt yuv444p", size=(321, 241))
    )
    yield Variant("shape", "3gp h263 176x144", partial(film, name="a.3gp", options="-c:v h263 -q:v 2", size=(176, 144)))
    yield Variant(
        "shape",
        "mp4 3840x2160",
        partial(film, name="a.mp4", options=f"{to709} {QUICK}", size=(3840, 2160), seconds=2.0),
    )
    yield from film_faults.variants()


def check(variant: Variant, path: Path) -> dict[str, Any]:
    """Being's reading of a film beside ffmpeg's; the verdict is "same", "explained" (by its notes) or "WRONG"."""
    facts, started = variant.facts, time.monotonic()
    try:
        opened = open_film(path)
        shown = [
            (time_of(picture), patches_of(picture)) if picture.shape[1] >= 100 else (0.0, PATCHES) for picture in opened
        ]
        notes = opened.told()
        heard = film_sound(path, opened.start_s, opened.duration_s) if opened.index.sounds else None
    except BeingError as error:
        row: dict[str, Any] = {"seconds": round(time.monotonic() - started, 2), "peak_mb": peak_mb()}
        said = str(error).replace(str(path.parent) + "/", "")
        fine = variant.expect == "refused" and "\n" not in said
        return {**row, "verdict": "refused" if fine else "WRONG", "why": said}
    row = {"seconds": round(time.monotonic() - started, 2), "peak_mb": peak_mb(), "being_s": opened.duration_s}
    if variant.expect == "refused":
        return {**row, "verdict": "WRONG", "why": "read, though it should not be"}
    notes += heard.notes if heard is not None else ()
    row["notes"] = [str(note) for note in notes]
    theirs = list(islice(((time_of(p), patches_of(p)) for p in by_ffmpeg(path, opened.width, opened.height)), 5000))
    row["ffmpeg_s"] = len(theirs) / 25
    wrong, told = [], {note.kind for note in notes}
    if abs(row["being_s"] - facts.get("length", row["ffmpeg_s"])) > facts.get("off", LENGTH_S) and not told & set(
        REPAIRED
    ):
        wrong.append(f"{row['being_s']:.2f} s, ffmpeg {row['ffmpeg_s']:.2f} s")
    if "length" in facts and abs(row["being_s"] - facts["length"]) > facts.get("off", LENGTH_S):
        wrong.append(f"{row['being_s']:.2f} s, {facts['length']:.2f} s expected")
    times = np.array([when for when, _ in shown])
    missing = opened.last.missing if opened.last is not None else np.zeros(len(times), bool)
    slow = 1 / facts.get("rate", 25.0) + 0.025
    if len(times) == len(theirs) and not facts.get("repaired"):
        apart = np.abs(times - [when for when, _ in theirs])[~missing]
        row["apart_ms"] = round(1000 * float(np.percentile(apart, 95)), 1)
        if row["apart_ms"] > 1000 * slow:
            wrong.append(f"pictures {row['apart_ms']:.0f} ms from ffmpeg's")
    if heard is not None:
        lag = np.abs(times_heard(heard.samples, 16_000, len(times)) - times - facts.get("shift", 0.0))
        lag = lag[~missing & ~np.isnan(lag)]
        if len(lag):
            row["pairing_ms"] = round(1000 * float(np.percentile(lag, facts.get("share", 90))), 1)
            if row["pairing_ms"] > 1000 * (slow + 0.03):
                wrong.append(f"sound {row['pairing_ms']:.0f} ms from its picture")
    limit = facts.get("colour", COLOUR)
    if limit is not None and len(shown) > 10 and opened.width >= 100:
        row["colour"] = round(float(np.abs(shown[len(shown) // 2][1] - PATCHES).max()), 1)
        if theirs:
            row["colour_ffmpeg"] = round(float(np.abs(theirs[len(theirs) // 2][1] - PATCHES).max()), 1)
        if row["colour"] > max(limit, row.get("colour_ffmpeg", 0.0) + 3 if limit == COLOUR else 0.0):
            wrong.append(f"colours off by {row['colour']} levels")
    wrong += [f"no note on {kind}" for kind in facts.get("told", ()) if kind not in told]
    if wrong:
        return {**row, "verdict": "WRONG", "why": "; ".join(wrong)}
    alike = abs(row["being_s"] - row["ffmpeg_s"]) <= LENGTH_S
    return {**row, "verdict": "same" if alike else "explained"}
