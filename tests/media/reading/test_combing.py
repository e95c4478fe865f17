"""Fields that a file does not declare are found on its pictures; whole pictures are never taken for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from being.media.reading.film_reader import Film, open_film
from being.media.reading.notes import NoteKind

W, H, FRAMES = 160, 96, 75
Picture = np.ndarray
LINES, COLUMNS = np.mgrid[:H, :W].astype(float)


def write(path: Path, pictures: Iterable[Picture], rate: int = 25, group: int = 250) -> Film:
    """Grey pictures (H, W), losslessly, marked as progressive."""
    options = {"preset": "ultrafast", "qp": "0", "g": str(group)}
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options=options)
        video.width, video.height, video.pix_fmt = W, H, "yuv444p"
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.clip(np.round(picture), 0, 255).astype(np.uint8), format="gray")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return open_film(path)


def speaker(time: float) -> Picture:
    """A textured wall, and a shaded disc before it that moves as a head does."""
    wall = 90 + 30 * np.sin(COLUMNS / 3) * np.cos(LINES / 5)
    across, down = 80 + 25 * np.sin(3 * time), 50 + 6 * np.sin(2 * time)
    far = np.hypot(COLUMNS - across, LINES - down)
    share = np.clip((30 - far) / 4, 0, 1)
    return share * (200 - 2 * far + 20 * np.sin((COLUMNS - across) / 3)) + (1 - share) * wall


def woven(scene: Callable[[float], Picture], top_first: bool) -> list[Picture]:
    """25 pictures a second of two fields each, filmed one after the other."""
    out = []
    for number in range(FRAMES):
        first, second = scene(number / 25), scene(number / 25 + 0.02)
        picture = (first if top_first else second).copy()
        picture[1::2] = (second if top_first else first)[1::2]
        out.append(picture)
    return out


@pytest.mark.parametrize("group", [250, 5])
@pytest.mark.parametrize("top_first", [True, False])
def test_woven_fields_are_found_and_taken_apart(tmp_path: Path, top_first: bool, group: int) -> None:
    pictures = woven(speaker, top_first)
    film = write(tmp_path / "v.mkv", pictures, group=group)
    assert film.fields == ("tff" if top_first else "bff")
    whole = [np.round(speaker(number / 25)) for number in range(FRAMES)]
    read = list(film)
    (note,) = film.told()
    assert note.kind is NoteKind.FIELDS and "says" in note.text
    assert len(read) == FRAMES
    after = [np.abs(r.mean(-1) - w) > 10 for r, w in zip(read, whole, strict=True)]
    before = [np.abs(p - w) > 10 for p, w in zip(pictures, whole, strict=True)]
    assert np.mean(after) < 0.3 * np.mean(before)


def moving(scene: Callable[[float], Picture], rate: int) -> list[Picture]:
    return [scene(number / rate) for number in range(FRAMES)]


RNG = np.random.default_rng(0)
NOISE = RNG.uniform(0, 255, (FRAMES, H, W))
WHOLE: dict[str, Callable[[float], Picture]] = {
    "a head": speaker,
    "a head that moves fast": lambda t: speaker(6 * t),
    "nothing": lambda t: speaker(0.0),
    "stripes of one line, still": lambda t: 255 * (LINES % 2) + 0 * t,
    "a head before stripes of one line": lambda t: np.where(LINES % 2 > 0, speaker(t), 128),
    "stripes of one line, swaying": lambda t: 128 + 100 * np.cos(np.pi * (LINES - 4 * np.sin(2 * t))),
    "stripes of one line, drifting": lambda t: 128 + 100 * np.cos(np.pi * (LINES - 6 * t)),
    "stripes of one and a half lines, drifting": lambda t: 128 + 100 * np.cos(np.pi / 1.5 * (LINES - 9 * t)),
    "a shirt of fine stripes": lambda t: np.roll(255 * (LINES % 3 > 1), round(12 * t), 0),
    "titles that roll up, a line a picture": lambda t: np.roll(NOISE[0], -round(25 * t), 0),
    "stripes of one line, fading away": lambda t: 128 + 127 * max(0.0, 1 - t / 2) * (2 * (LINES % 2) - 1),
    "noise": lambda t: NOISE[round(25 * t) % FRAMES],
    "a light that goes on and off": lambda t: speaker(0.0) * (0.6 + 0.4 * np.sin(9 * t)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_pictures_are_left_as_they_are(tmp_path: Path, name: str) -> None:
    pictures = moving(WHOLE[name], 25)
    film = write(tmp_path / "v.mkv", pictures)
    assert film.fields is None
    for read, drawn in zip(film, pictures, strict=True):
        assert np.abs(read.mean(-1) - np.clip(drawn, 0, 255)).max() < 3
    assert film.told() == ()


def test_film_that_cannot_have_fields_is_not_looked_at(tmp_path: Path) -> None:
    assert write(tmp_path / "v.mkv", woven(speaker, True), rate=50).fields is None
