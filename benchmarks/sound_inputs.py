"""Sound files by container, codec, rate and channels, and the comparison with ffmpeg: see inputs.py."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ffmpeg import ff
from inputs import Variant, peak_mb

from being.errors import BeingError
from being.media.reading.notes import NoteKind
from being.media.reading.sound_reader import read_sound
from being.samples import HELLO

Floats = npt.NDArray[np.float32]

SECONDS = 4.0
RATE = 16_000  # compared at
LENGTH_S, LAG_S, LEVEL_DB = 0.050, 0.020, 1.0
# Container, codec and its options, rates, channels: files as ffmpeg writes them.
FORMATS: tuple[tuple[str, str, tuple[int, ...], tuple[int, ...]], ...] = (
    ("wav", "pcm_s16le", (8000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000), (1, 2)),
    ("wav", "pcm_u8", (8000, 44_100), (1,)),
    ("wav", "pcm_s24le", (48_000,), (2,)),
    ("wav", "pcm_s32le", (44_100,), (2,)),
    ("wav", "pcm_f32le", (48_000,), (2,)),
    ("wav", "pcm_f64le", (44_100,), (1,)),
    ("wav", "pcm_alaw", (8000,), (1,)),
    ("wav", "pcm_mulaw", (8000,), (1, 2)),
    ("wav", "adpcm_ms", (22_050,), (2,)),
    ("wav", "adpcm_ima_wav", (22_050, 44_100), (1,)),
    ("wav", "libgsm_ms", (8000,), (1,)),
    ("wav", "libmp3lame", (44_100,), (2,)),
    ("wav", "g726", (8000,), (1,)),
    ("wav", "pcm_s16le -rf64 always", (48_000,), (2,)),
    ("wav", "pcm_s16le -ar 500", (500,), (1,)),
    ("wav", "pcm_s16le -ar 31337", (31_337,), (1,)),
    ("wav", "pcm_s16le -ar 384000", (384_000,), (1,)),
    ("w64", "pcm_s16le", (44_100,), (2,)),
    ("aiff", "pcm_s16be", (44_100,), (1, 2)),
    ("aiff", "pcm_s24be", (96_000,), (2,)),
    ("aifc", "pcm_s16le -f aiff", (44_100,), (1,)),
    ("au", "pcm_s16be", (22_050,), (1,)),
    ("au", "pcm_mulaw", (8000,), (1,)),
    ("caf", "pcm_s16be", (44_100,), (2,)),
    ("caf", "alac", (44_100,), (2,)),
    ("voc", "pcm_u8", (22_050,), (1,)),
    ("sox", "pcm_s32le", (44_100,), (1,)),
    ("ircam", "pcm_s16le -f ircam", (44_100,), (1,)),
    ("rso", "pcm_u8", (22_050,), (1,)),
    ("mp3", "libmp3lame -b:a 64k", (16_000, 22_050, 24_000, 44_100, 48_000), (1, 2)),
    ("mp3", "libmp3lame -q:a 4", (44_100,), (2,)),
    ("mp3", "libmp3lame -q:a 4 -write_xing 0", (44_100,), (2,)),
    ("mp3", "libmp3lame -b:a 8k", (8000,), (1,)),
    ("mp2", "mp2", (48_000,), (2,)),
    ("m4a", "aac", (16_000, 44_100, 48_000), (1, 2)),
    ("m4a", "alac", (48_000,), (2,)),
    ("mp4", "aac -movflags +faststart", (48_000,), (2,)),
    ("mp4", "aac -movflags frag_keyframe+empty_moov -frag_duration 500000", (48_000,), (2,)),
    ("mp4", "libopus -strict -2", (48_000,), (2,)),
    ("mp4", "flac -strict -2", (44_100,), (2,)),
    ("mp4", "ac3", (48_000,), (2,)),
    ("mp4", "libmp3lame", (44_100,), (2,)),
    ("mov", "pcm_s16le", (48_000,), (1, 2)),
    ("mov", "pcm_s24be", (48_000,), (2,)),
    ("mov", "adpcm_ima_qt", (44_100,), (1,)),
    ("mov", "pcm_mulaw", (8000,), (1,)),
    ("aac", "aac", (22_050, 48_000), (1, 2)),
    ("latm", "aac", (48_000,), (1,)),
    ("ac3", "ac3", (44_100, 48_000), (2,)),
    ("eac3", "eac3", (48_000,), (2,)),
    ("dts", "dca -strict -2", (48_000,), (2,)),
    ("thd", "truehd -strict -2", (48_000,), (2,)),
    ("mlp", "mlp -strict -2", (48_000,), (2,)),
    ("flac", "flac", (16_000, 44_100, 96_000), (1, 2)),
    ("ogg", "libvorbis", (22_050, 44_100, 48_000), (1, 2)),
    ("ogg", "flac", (44_100,), (2,)),
    ("opus", "libopus", (48_000,), (1, 2)),
    ("opus", "libopus -frame_duration 2.5", (48_000,), (1,)),
    ("opus", "libopus -frame_duration 60 -application voip -b:a 12k", (16_000,), (1,)),
    ("spx", "libspeex", (8000, 16_000, 32_000), (1,)),
    ("mka", "libopus", (48_000,), (2,)),
    ("mka", "libvorbis", (44_100,), (2,)),
    ("mka", "aac", (44_100,), (1,)),
    ("mka", "pcm_s16le", (44_100,), (2,)),
    ("mka", "libmp3lame", (44_100,), (2,)),
    ("mka", "ac3", (48_000,), (2,)),
    ("mka", "flac", (48_000,), (1,)),
    ("webm", "libopus", (48_000,), (1, 2)),
    ("webm", "libvorbis", (44_100,), (2,)),
    ("wma", "wmav2 -f asf", (22_050, 44_100), (1, 2)),
    ("wma", "wmav1 -f asf", (44_100,), (2,)),
    ("avi", "libmp3lame", (44_100,), (2,)),
    ("avi", "pcm_s16le", (44_100,), (1,)),
    ("flv", "libmp3lame", (44_100,), (2,)),
    ("flv", "aac", (48_000,), (2,)),
    ("flv", "nellymoser", (22_050,), (1,)),
    ("ts", "aac -f mpegts", (48_000,), (2,)),
    ("ts", "mp2 -f mpegts", (48_000,), (2,)),
    ("ts", "ac3 -f mpegts", (48_000,), (2,)),
    ("ts", "libopus -f mpegts", (48_000,), (2,)),
    ("mpg", "mp2 -f mpeg", (44_100,), (2,)),
    ("vob", "ac3 -f vob", (48_000,), (2,)),
    ("nut", "libvorbis", (44_100,), (2,)),
    ("mxf", "pcm_s16le -f mxf", (48_000,), (1,)),
    ("wv", "wavpack", (44_100,), (2,)),
    ("tta", "tta", (44_100,), (2,)),
    ("g722", "g722", (16_000,), (1,)),
    ("gsm", "libgsm", (8000,), (1,)),
    ("rm", "ac3 -f rm", (44_100,), (2,)),
    ("ra", "real_144 -f rm", (8000,), (1,)),
    ("sbc", "sbc", (44_100,), (2,)),
    ("swf", "libmp3lame -f swf", (44_100,), (2,)),
    ("mmf", "adpcm_yamaha", (22_050,), (1,)),
    ("wtv", "mp2", (48_000,), (2,)),
    ("tco", "g723_1 -f g723_1 -b:a 6300", (8000,), (1,)),
    ("apm", "adpcm_ima_apm", (22_050,), (1,)),
)
NEEDS_PICTURE = ("mxf", "swf", "wtv")
LAYOUTS = ("2.1", "3.0", "4.0", "quad", "5.0", "5.1", "5.1(side)", "6.1", "7.1")
PAN = {"FC": "0.7*c0", "LFE": "0.3*c0", "FL": "0.3*c0", "FR": "0.2*c0"}  # other channels: 0.15


def voice(folder: Path, name: str = "voice.wav") -> Path:
    """Four seconds of speech, 48 kHz, louder at the left."""
    path = folder / name
    pan = "aresample=48000,pan=stereo|c0=0.8*c0|c1=0.6*c0"
    ff("-i", HELLO, "-t", SECONDS, "-af", pan, "-c:a", "pcm_s16le", path)
    return path


@lru_cache(maxsize=1)
def truth() -> Floats:
    """What was said, 16 kHz mono."""
    return read_sound(HELLO).model_pcm[: round(SECONDS * RATE)]


def picture(seconds: float = SECONDS) -> tuple[str, ...]:
    """Input options of a small film without sound."""
    return "-f", "lavfi", "-i", f"testsrc=size=64x48:rate=25:duration={seconds}"


def encoded(ending: str, codec: str, rate: int, channels: int, folder: Path) -> Path:
    """The voice as one format."""
    path = folder / f"a.{ending}"
    film = picture() if ending in NEEDS_PICTURE else ()
    maps = ("-map", "1:v", "-map", "0:a") if film else ()
    name, *options = codec.split()
    ff("-i", voice(folder), *film, *maps, "-ar", rate, "-ac", channels, "-c:a", name, *options, path)
    return path


def laid_out(layout: str, ending: str, codec: str, folder: Path) -> Path:
    """Speech in the centre of a loudspeaker layout, less of it elsewhere."""
    listed = subprocess.run(["ffmpeg", "-v", "quiet", "-layouts"], capture_output=True, text=True).stdout
    names = next(line.split()[1] for line in listed.splitlines() if line.split()[:1] == [layout]).split("+")
    pan = f"pan={layout}|" + "|".join(f"{name}={PAN.get(name, '0.15*c0')}" for name in names)
    path = folder / f"a.{ending}"
    ff("-i", voice(folder), "-af", pan, "-c:a", codec, path)
    return path


def variants() -> Iterator[Variant]:
    """All of them."""
    import sound_unusual

    for ending, codec, rates, channels in FORMATS:
        for rate in rates:
            for count in channels:
                name = f"{ending} {codec} {rate} Hz {count} ch"
                yield Variant("format", name, partial(encoded, ending, codec, rate, count))
    lacking = partial(encoded, "c2", "libcodec2 -f codec2", 8000, 1)
    yield Variant("format", "c2 libcodec2: not in PyAV", lacking, expect="refused", facts={"alone": True})
    for layout in LAYOUTS:
        yield Variant("channels", f"wav {layout}", partial(laid_out, layout, "wav", "pcm_s16le"))
    for layout, ending, codec in (("5.1", "ac3", "ac3"), ("5.1", "m4a", "aac"), ("5.1", "flac", "flac")):
        yield Variant("channels", f"{ending} {layout}", partial(laid_out, layout, ending, codec))
    yield Variant("channels", "ogg 5.1", partial(laid_out, "5.1", "ogg", "libvorbis"))
    yield Variant("channels", "mka 7.1 opus", partial(laid_out, "7.1", "mka", "libopus"))
    yield from sound_unusual.variants()


def check(variant: Variant, path: Path) -> dict[str, Any]:
    """Being's reading of a file beside ffmpeg's; the verdict is "same", "explained" (by its notes) or "WRONG"."""
    facts = variant.facts
    started = time.monotonic()
    before = peak_mb()
    try:
        sound = read_sound(path, track=facts.get("track"))
    except BeingError as error:
        lined = "\n" not in str(error)
        row: dict[str, Any] = {"seconds": round(time.monotonic() - started, 2), "peak_mb": peak_mb()}
        alone = facts.get("alone") or len(by_ffmpeg(path, 1, facts.get("track", 1))) < 0.2 * 48_000
        expected = variant.expect == "refused" and lined and alone
        said = str(error).replace(str(path.parent) + "/", "")
        return {**row, "verdict": "refused" if expected else "WRONG", "why": said}
    row = {"seconds": round(time.monotonic() - started, 2), "peak_mb": peak_mb(), "before_mb": before}
    row |= {"being_s": round(sound.seconds, 3), "notes": [str(note) for note in sound.notes]}
    if variant.expect == "refused":
        return {**row, "verdict": "WRONG", "why": "read, though it is none"}
    channels = sound.playback_pcm.shape[1]
    theirs = by_ffmpeg(path, channels, facts.get("track") or facts.get("ffmpeg_track", 1))
    row["ffmpeg_s"] = round(len(theirs) / 48_000, 3)
    said = 0.0
    for note in sound.notes:
        if note.kind in (NoteKind.HOLE, NoteKind.DAMAGE):
            said += note.seconds
        elif note.kind is NoteKind.OVERLAP:
            said -= note.seconds
    heard = sound.model_pcm
    row["told_s"] = round(said, 3)
    wrong = []
    wanted = facts.get("seconds", row["ffmpeg_s"] + said)
    if "length" in facts and sound.seconds < facts["length"] - LENGTH_S and not sound.notes:
        wrong.append("shorter, and not told")
    if min(abs(sound.seconds - wanted), abs(sound.seconds - facts.get("length", wanted))) > LENGTH_S:
        wrong.append(f"{sound.seconds:.3f} s, {wanted:.3f} s expected")
    spoken: Callable[[], Floats] | None = facts.get("truth")
    reference = spoken() if spoken is not None else theirs.mean(axis=1)[::3]
    lag, matched = lag_of(reference, heard)
    row |= {"against": "truth" if spoken else "ffmpeg", "lag_ms": round(1000 * lag, 1), "matched": round(matched, 2)}
    if lag > facts.get("lag", LAG_S) or matched < facts.get("matched", 0.9):
        wrong.append(f"{1000 * lag:.0f} ms from where it belongs, {matched:.0%} of it found")
    if spoken is None:
        row["level_db"] = round(decibels(sound.playback_pcm) - decibels(theirs), 2)
        if abs(row["level_db"]) > LEVEL_DB and not any(note.kind is NoteKind.LEVEL for note in sound.notes):
            wrong.append(f"{row['level_db']:+.1f} dB")
    wrong += [f"no note on {kind}" for kind in facts.get("told", ()) if kind not in [n.kind for n in sound.notes]]
    if wrong:
        return {**row, "verdict": "WRONG", "why": "; ".join(wrong)}
    alike = abs(sound.seconds - row["ffmpeg_s"]) <= LENGTH_S and spoken is None
    return {**row, "verdict": "same" if alike else "explained"}


def by_ffmpeg(path: Path, channels: int, track: int) -> Floats:
    """(S, channels) at 48 kHz as ffmpeg decodes it."""
    command = ["ffmpeg", "-nostdin", "-v", "quiet", "-i", str(path), "-map", f"0:a:{track - 1}"]
    command += ["-ac", str(channels), "-ar", "48000", "-f", "f32le", "-"]
    raw = subprocess.run(command, capture_output=True).stdout
    return np.clip(np.frombuffer(raw, np.float32).reshape(-1, channels), -1, 1)


def decibels(sound: Floats) -> float:
    """Root mean square."""
    return float(10 * np.log10(np.mean(np.square(sound)) + 1e-12)) if len(sound) else -120.0


def lag_of(reference: Floats, heard: Floats, window_s: float = 0.4, reach_s: float = 0.3) -> tuple[float, float]:
    """Largest distance, seconds, of any loud window of the reference from where it is heard; share of windows found."""
    window, reach = round(window_s * RATE), round(reach_s * RATE)
    worst, found, count = 0.0, 0, 0
    loud = 0.3 * float(np.sqrt(np.mean(np.square(reference)))) if len(reference) else 0.0
    padded = np.concatenate([np.zeros(reach, np.float32), heard, np.zeros(reach + window + len(reference), np.float32)])
    for first in range(0, len(reference) - window + 1, window // 2):
        part = reference[first : first + window]
        if np.sqrt(np.mean(np.square(part))) < loud or not loud:
            continue
        count += 1
        place = padded[first : first + window + 2 * reach]
        size = 1 << (len(place) + window).bit_length()
        cross = np.fft.irfft(np.fft.rfft(place, size) * np.conj(np.fft.rfft(part, size)), size)[: 2 * reach + 1]
        power = np.concatenate([[0.0], np.cumsum(np.square(place, dtype=np.float64))])
        norm = np.sqrt(np.maximum(power[window : window + 2 * reach + 1] - power[: 2 * reach + 1], 1e-9))
        alike = cross / norm / np.sqrt(np.sum(np.square(part)))
        best = int(alike.argmax())
        if alike[best] > 0.8:
            found += 1
            worst = max(worst, abs(best - reach) / RATE)
    return worst, found / count if count else 1.0
