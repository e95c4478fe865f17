"""Videos as phones write them, made on the spot."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from being.capture.read_ahead import ahead
from being.capture.video.crop import Crop
from being.capture.video.reader import open_footage
from being.constants import FPS
from being.errors import InputError
from being.media.reading.notes import NoteKind

W, H = 64, 48
RATE = 16_000


def picture(level: int) -> np.ndarray:
    """Grey of a level, with a white mark in the upper left corner."""
    frame = np.full((H, W, 3), level, np.uint8)
    frame[:12, :12] = 255
    return frame


def write(
    path: Path,
    times: list[float],
    *,
    level=lambda t: 40,
    matrix: tuple[int, ...] | None = None,
    sound: bool = True,
    options: dict[str, str] | None = None,
    channels: int = 1,
) -> Path:
    """A video whose frames are shown at `times` seconds, and a 440 Hz tone; of several channels, in the last alone."""
    web = path.suffix == ".webm"
    rate = 48_000 if web else RATE
    with av.open(str(path), "w", options=options or {}) as container:
        quick = {"crf": "10", "b": "1M", "deadline": "realtime"} if web else {"crf": "10", "preset": "ultrafast"}
        video = container.add_stream("libvpx" if web else "libx264", rate=25, options=quick)
        video.width, video.height, video.pix_fmt = W, H, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 90_000)
        layout = {1: "mono", 2: "stereo"}[channels]
        tone = container.add_stream("libopus" if web else "aac", rate=rate, layout=layout) if sound else None
        for time in times:
            frame = av.VideoFrame.from_ndarray(picture(level(time)), format="rgb24")
            frame.pts, frame.time_base = round(time * 90_000), Fraction(1, 90_000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if tone is not None:
            wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(int((times[-1] + 0.04) * rate)) / rate)
            heard = np.stack([0 * wave] * (channels - 1) + [wave]).astype(np.float32)
            chunk = av.AudioFrame.from_ndarray(heard, format="fltp", layout=layout)
            chunk.sample_rate = rate
            container.mux(tone.encode(chunk))
            container.mux(tone.encode(None))
    if matrix is not None:
        plain = b"".join(n.to_bytes(4, "big", signed=True) for n in (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30))
        data = path.read_bytes()
        at = data.index(plain, data.index(b"tkhd"))  # the video's track header comes first
        turned = b"".join(n.to_bytes(4, "big", signed=True) for n in matrix)
        path.write_bytes(data[:at] + turned + data[at + len(plain) :])
    return path


def steady(rate: float, seconds: float) -> list[float]:
    return [i / rate for i in range(round(rate * seconds))]


def ramp(time: float) -> int:
    return int(20 + 40 * time)


@pytest.mark.parametrize("rate", [24, 25, 30, 60])
def test_any_rate_becomes_25_by_the_time_stamps(tmp_path: Path, rate: int) -> None:
    footage = open_footage(write(tmp_path / "v.mp4", steady(rate, 3.2), level=ramp))
    frames = list(footage)
    assert len(frames) == footage.frames == 80
    assert footage.film.rate == pytest.approx(rate, rel=0.02)
    levels = np.array([frame[24:, 24:].mean() for frame in frames])
    wanted = np.array([ramp(k / FPS) for k in range(80)])
    assert np.abs(levels - wanted).max() < 40 / rate + 3  # within one filmed frame of the right one


def test_variable_rate_keeps_the_clock(tmp_path: Path) -> None:
    slow_then_fast = [i / 10 for i in range(20)] + [2 + i / 50 for i in range(75)]
    footage = open_footage(write(tmp_path / "v.mp4", slow_then_fast, level=ramp))
    levels = np.array([frame[24:, 24:].mean() for frame in footage])
    wanted = np.array([ramp(k / FPS) for k in range(len(levels))])
    assert len(levels) == pytest.approx(3.5 * FPS, abs=1)
    assert np.abs(levels - wanted).max() < 40 * 0.06 + 3


ONE = 65536
TURNS = {  # display matrix -> where the filmed picture's upper left corner ends up (row, column)
    "none": (None, (0, 0)),
    "quarter": ((0, ONE, 0, -ONE, 0, 0, H * ONE, 0, 1 << 30), (0, -1)),
    "half": ((-ONE, 0, 0, 0, -ONE, 0, W * ONE, H * ONE, 1 << 30), (-1, -1)),
    "three quarters": ((0, -ONE, 0, ONE, 0, 0, 0, W * ONE, 1 << 30), (-1, 0)),
    "mirrored": ((-ONE, 0, 0, 0, ONE, 0, W * ONE, 0, 1 << 30), (0, -1)),
}


@pytest.mark.parametrize("turn", TURNS)
def test_frames_come_upright(tmp_path: Path, turn: str) -> None:
    matrix, corner = TURNS[turn]
    footage = open_footage(write(tmp_path / "v.mp4", steady(25, 3.2), matrix=matrix))
    frame = next(iter(footage))
    assert frame.shape == (footage.height, footage.width, 3)
    assert (footage.width, footage.height) == ((H, W) if "quarter" in turn else (W, H))
    corners = {(r, c): frame[5 if r == 0 else -6, 5 if c == 0 else -6].mean() for r in (0, -1) for c in (0, -1)}
    assert max(corners, key=lambda where: corners[where]) == corner


def test_footage_is_read_twice_alike_and_cropped(tmp_path: Path) -> None:
    footage = open_footage(write(tmp_path / "v.mp4", steady(25, 3.2), level=ramp))
    first, second = list(footage), list(footage)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    seen = footage.cropped(Crop(0, 0, 24, 24), (12, 12))
    frames = list(seen)
    assert len(frames) == 80 and frames[0].shape == (12, 12, 3)
    assert frames[0][:4, :4].min() > 230 and frames[0][8:, 8:].max() < 90  # the mark covers half of the square


def test_pictures_shown_twice_are_made_once_on_whatever_thread(tmp_path: Path) -> None:
    """FFmpeg hangs or dies where two threads convert one decoded frame."""
    footage = open_footage(write(tmp_path / "v.mp4", steady(12, 3.5), level=ramp)).cropped(Crop(0, 0, 40, 40), (24, 24))
    makers = list(footage.later())
    assert len({id(make) for make in makers}) < len(makers)
    made = list(ahead(iter(makers), workers=8))
    assert len({id(picture) for picture in made}) == len({id(make) for make in makers})
    assert all(np.array_equal(a, b) for a, b in zip(made, footage, strict=True))


def test_sound_runs_on_the_pictures_clock(tmp_path: Path) -> None:
    footage = open_footage(write(tmp_path / "v.mp4", [t + 1.0 for t in steady(25, 3.2)]))  # the picture begins at 1 s
    sound = footage.sound()
    assert sound.dtype == np.float32 and sound.shape == (footage.frames * 640,)
    assert np.sqrt(np.mean(sound[1600:-3200] ** 2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize(("kind", "channels"), [("mov", 1), ("mkv", 2), ("webm", 2), ("mp4", 2)])
def test_any_container_mono_or_stereo(tmp_path: Path, kind: str, channels: int) -> None:
    footage = open_footage(write(tmp_path / f"v.{kind}", steady(30, 3.2), level=ramp, channels=channels))
    levels = np.array([frame[24:, 24:].mean() for frame in footage])
    assert len(levels) == pytest.approx(80, abs=1)
    assert np.abs(levels - [ramp(k / FPS) for k in range(len(levels))]).max() < 40 / 30 + 5
    loudness = np.sqrt(np.mean(footage.sound()[3200:-3200] ** 2))  # channels are averaged
    assert loudness == pytest.approx(0.3 / np.sqrt(2) / channels, rel=0.15)


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        open_footage(path)
    assert caught.value.remedy and "\n" not in str(caught.value)
    return caught.value.problem


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("not a video at all\n" * 100)
    assert "is text" in refusal(text)
    assert "does not exist" in refusal(tmp_path / "missing.mp4")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    assert "is empty" in refusal(empty)


def test_short_or_silent_footage_is_refused(tmp_path: Path) -> None:
    assert "lasts 1.0 s" in refusal(write(tmp_path / "short.mp4", steady(25, 1.0)))
    assert "has no sound" in refusal(write(tmp_path / "mute.mp4", steady(25, 3.2), sound=False))


def cut_off(tmp_path: Path, share: float, options: dict[str, str]) -> Path:
    """A film of 6 s of which only a share of the bytes is there."""
    noise = np.random.default_rng(0)
    whole = write(tmp_path / "whole.mp4", steady(25, 6), level=lambda t: int(noise.integers(0, 200)), options=options)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: round(whole.stat().st_size * share)])
    return cut


def test_what_a_cut_off_file_still_holds_is_used_and_told(tmp_path: Path) -> None:
    footage = open_footage(cut_off(tmp_path, 0.6, {"movflags": "faststart"}))
    assert 3 < footage.duration_s < 5 and len(list(footage)) == footage.frames
    assert [note.kind for note in footage.film.told()] == [NoteKind.CUT_OFF]


@pytest.mark.parametrize(("share", "options"), [(0.6, {}), (0.4, {"movflags": "faststart"})], ids=["no index", "less"])
def test_a_file_of_which_too_little_is_there_is_refused(tmp_path: Path, share: float, options: dict[str, str]) -> None:
    assert "cut off" in refusal(cut_off(tmp_path, share, options))
