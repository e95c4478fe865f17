"""Films as recorders, cameras and damaged disks write them, made with PyAV: a fast slice of benchmarks/inputs.py.

Every picture shows its own time as a level of grey, so what is read says when it was filmed.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from being.errors import InputError
from being.media.reading.film_reader import open_film
from being.media.reading.notes import NoteKind

W, H, RATE = 96, 64, 25
FASTEST = {"preset": "ultrafast", "crf": "8", "g": "10"}
LEVELS = 40  # of grey a second


def grey(time: float) -> int:
    return round(20 + LEVELS * time)


def shown(picture: np.ndarray) -> float:
    """When a picture was filmed, seconds."""
    return (float(picture[8:-8, 8:-8].mean()) - 20) / LEVELS


def write(
    path: Path,
    times: list[float],
    stamps: list[float] | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    paint: Callable[[float], np.ndarray] | None = None,
    size: tuple[int, int] = (W, H),
) -> Path:
    """Pictures filmed at `times`, stamped `stamps` seconds."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=RATE, options=FASTEST if options is None else options)
        video.width, video.height = size
        video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        for time, stamp in zip(times, stamps or times, strict=True):
            picture = np.full((*size[::-1], 3), grey(time), np.uint8) if paint is None else paint(time)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(stamp * 1000), Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def steady(seconds: float, rate: float = RATE, begins: float = 0.0) -> list[float]:
    return [begins + i / rate for i in range(round(seconds * rate))]


def read(path: Path, start_s: float | None = None, end_s: float | None = None) -> tuple[np.ndarray, list[NoteKind]]:
    film = open_film(path, start_s, end_s)
    times = np.array([shown(picture) for picture in film])
    assert len(times) == film.frames
    return times, [note.kind for note in film.told()]


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "ts", "avi", "flv", "nut"])
def test_any_container_keeps_the_clock(tmp_path: Path, ending: str) -> None:
    codec, options = ("mjpeg", {"q": "2"}) if ending == "avi" else ("libx264", FASTEST)
    times, notes = read(write(tmp_path / f"v.{ending}", steady(3), None, codec, options))
    assert len(times) == pytest.approx(75, abs=1) and not notes
    assert np.abs(times - np.arange(len(times)) / 25).max() < 0.06


def test_a_hole_is_held_and_told(tmp_path: Path) -> None:
    film = open_film(write(tmp_path / "v.mkv", [t for t in steady(4) if not 1 < t < 2]))
    times = np.array([shown(picture) for picture in film])
    assert len(times) == 100
    assert np.abs(times - np.arange(100) / 25)[[*range(26), *range(50, 100)]].max() < 0.06
    assert film.last is not None and film.last.missing[28:47].all()
    assert not film.last.missing[[*range(25), *range(53, 100)]].any()
    assert [note.kind for note in film.told()] == [NoteKind.HOLE]


def test_slow_film_has_no_holes(tmp_path: Path) -> None:
    film = open_film(write(tmp_path / "v.mkv", steady(4, 5)))
    assert len(list(film)) == pytest.approx(100, abs=2) and not film.told()


def test_joined_streams_carry_on(tmp_path: Path) -> None:
    """The second part's clock begins where the first one's did."""
    one, two = write(tmp_path / "1.ts", steady(2)), write(tmp_path / "2.ts", steady(2, begins=2), steady(2))
    (tmp_path / "v.ts").write_bytes(one.read_bytes() + two.read_bytes())
    times, notes = read(tmp_path / "v.ts")
    assert len(times) == pytest.approx(100, abs=1) and notes == [NoteKind.JOINED]
    assert np.abs(times - np.arange(len(times)) / 25).max() < 0.09


def test_a_stray_stamp_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "v.ts", steady(4), options={**FASTEST, "bf": "0"})
    with av.open(str(path)) as source, av.open(str(tmp_path / "s.ts"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.dts is None:
                continue
            packet.stream = stream
            if number == 50:
                packet.pts = packet.pts + 500 * 90_000
            target.mux(packet)
    times, _ = read(tmp_path / "s.ts")
    assert len(times) == 100 and np.abs(times - np.arange(100) / 25)[[*range(49), *range(52, 100)]].max() < 0.06


def test_damaged_packets_are_stepped_over(tmp_path: Path) -> None:
    path = tmp_path / "v.mkv"
    write(path, steady(4), codec="ffv1", options={"slices": "4", "slicecrc": "1", "g": "1"})
    with av.open(str(path)) as source, av.open(str(tmp_path / "d.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.dts is None:
                continue
            if 40 <= number < 60:  # 0.8 s that no decoder reads
                broken = av.Packet(b"\xff" * 40)
                broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
                packet = broken
            packet.stream = stream
            target.mux(packet)
    film = open_film(tmp_path / "d.mkv")
    times = np.array([shown(picture) for picture in film])
    assert len(times) == 100 and [note.kind for note in film.told()] == [NoteKind.DAMAGE]
    assert film.last is not None and 12 <= film.last.missing.sum() <= 20
    assert np.abs(times - np.arange(100) / 25)[[*range(40), *range(60, 100)]].max() < 0.06


def test_less_than_half_of_a_film_is_none(tmp_path: Path) -> None:
    path = tmp_path / "v.mkv"
    write(path, steady(3), codec="ffv1", options={"slices": "4", "slicecrc": "1", "g": "1"})
    data = bytearray(path.read_bytes())
    for place in np.random.default_rng(0).integers(2000, len(data), len(data) // 4):
        data[place] = 255
    path.write_bytes(bytes(data))
    with pytest.raises(InputError) as caught:
        list(open_film(path))
    assert "damaged" in caught.value.problem or "decoded" in caught.value.problem or "holds" in caught.value.problem


def test_a_part_of_a_film(tmp_path: Path) -> None:
    path = write(tmp_path / "v.mp4", steady(5))
    times, _ = read(path, 1.5, 3.5)
    assert len(times) == 50 and np.abs(times - (1.5 + np.arange(50) / 25)).max() < 0.05
    whole, _ = read(path)
    later, _ = read(path, 2.0)
    assert np.array_equal(whole[50:], later)
    for start, end in ((6.0, None), (3.0, 2.0), (2.0, 2.0)):
        with pytest.raises(InputError):
            open_film(path, start, end)


def test_interlaced_pictures_become_whole(tmp_path: Path) -> None:
    """A bar moves on between the two fields of a picture: woven together it is a comb."""

    def woven(time: float) -> np.ndarray:
        picture = np.full((H, W, 3), 60, np.uint8)
        for field in (0, 1):
            at = int(20 + 60 * (time + field / 50)) % (W - 20)
            picture[field::2, at : at + 16] = 200
        return picture

    options = {**FASTEST, "x264-params": "tff=1:interlaced=1"}
    film = open_film(write(tmp_path / "v.mp4", steady(2), options=options, paint=woven))
    pictures = np.stack(list(film)).astype(float).mean(-1)
    assert len(pictures) == 50 and [note.kind for note in film.told()] == [NoteKind.FIELDS]
    comb = np.abs(pictures[5:-5, 1:-1] - (pictures[5:-5, :-2] + pictures[5:-5, 2:]) / 2).mean()
    filmed = np.stack([woven(t) for t in steady(2)][5:-5]).astype(float).mean(-1)
    assert comb < 0.2 * np.abs(filmed[:, 1:-1] - (filmed[:, :-2] + filmed[:, 2:]) / 2).mean()


def test_dolby_vision_is_read_where_it_is_hdr_too(tmp_path: Path) -> None:
    """Profile 5 says nothing of its colours; profile 8 says HLG."""
    for name, tags in (("five", {}), ("eight", {"color_trc": 18, "color_primaries": 9, "colorspace": 9})):
        with av.open(str(tmp_path / f"{name}.mp4"), "w") as container:
            video = container.add_stream("libx265", rate=RATE, options={"x265-params": "log-level=none"})
            video.width, video.height, video.pix_fmt = W, H, "yuv420p10le"
            video.codec_context.codec_tag = "dvh1"
            for tag, value in tags.items():
                setattr(video.codec_context, tag, value)
            for time in steady(1):
                picture = np.full((H, W, 3), grey(time), np.uint8)
                container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(video.encode(None))
    with pytest.raises(InputError, match="Dolby Vision") as caught:
        open_film(tmp_path / "five.mp4")
    assert "SDR" in caught.value.remedy
    assert [note.kind for note in open_film(tmp_path / "eight.mp4").told()] == [NoteKind.COLOUR]


@pytest.mark.parametrize("ending", ["txt", "zeros"])
def test_what_is_no_film_is_one_line(tmp_path: Path, ending: str) -> None:
    path = tmp_path / "v.mp4"
    path.write_bytes(b"not a film\n" * 500 if ending == "txt" else bytes(9000))
    with pytest.raises(InputError) as caught:
        open_film(path)
    assert "\n" not in str(caught.value) and caught.value.remedy
