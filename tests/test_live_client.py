"""What a live client judges with, held against the plain and slow way."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.signal import correlate

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from live_client import DRIFT, LATEST_START, PART, RATE, alignment, decoded


def encoded(pictures: list[np.ndarray], pixels: str) -> bytes:
    """(H, W, 3) uint8 pictures without loss, so that equal ones stay equal, and half a second of sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", options={"movflags": "frag_keyframe+empty_moov"}) as container:
        video = container.add_stream("libx264", rate=25, options={"qp": "0"})
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = pixels
        audio = container.add_stream("aac", rate=48_000, layout="mono")
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 24_000), np.float32), format="fltp", layout="mono")
        sound.rate = 48_000
        container.mux(audio.encode(sound))
        container.mux(audio.encode())
    return file.getvalue()


def test_repeats_are_those_that_a_conversion_to_grey_finds() -> None:
    rng = np.random.default_rng(0)
    # A width that is padded in memory, and pictures that differ in a single spot.
    pictures = [rng.integers(60, 190, (50, 70, 3)).astype(np.uint8)]
    for frame in range(1, 40):
        picture = pictures[-1].copy()
        if frame % 3:
            picture[frame, frame : frame + 2] += 40
        pictures.append(picture)
    stream = encoded(pictures, "yuv420p")
    frames, same, sound = decoded(stream)
    with av.open(io.BytesIO(stream)) as container:
        grey = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
    assert frames == list(range(40))
    assert same == [n for n in range(1, 40) if np.array_equal(grey[n], grey[n - 1])] == list(range(3, 40, 3))
    assert len(sound) >= RATE // 2


def test_pictures_without_luma_are_not_compared_by_chance() -> None:
    picture = np.zeros((48, 64, 3), np.uint8)
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        video = container.add_stream("libx264rgb", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "rgb24"
        container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
    with pytest.raises(ValueError, match="luma: gbrp"):
        decoded(file.getvalue())


@pytest.mark.parametrize("seed", range(3))
def test_parts_lie_where_the_plain_correlation_finds_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    said = rng.normal(0, 0.1, 9 * RATE).astype(np.float32)
    said[2 * RATE : 3 * RATE] = 0  # a pause
    jump = 5000 + 500 * seed
    heard = np.concatenate([np.zeros(12_345), said[: 5 * RATE], np.zeros(jump), said[5 * RATE :]])
    heard = (heard + rng.normal(0, 0.02, len(heard))).astype(np.float32)
    offsets, match = alignment(said, heard)
    expected, scores, low, high = [], [], 0, round(LATEST_START * RATE)
    part, reach = round(PART * RATE), round(DRIFT * RATE)
    for start in range(0, len(said) - part + 1, part):
        piece, near = said[start : start + part], heard[start + low : start + high + part]
        energy = np.sqrt(np.maximum(np.convolve(near * near, np.ones(part), "valid"), 1e-9))
        alike = correlate(near, piece, "valid", "direct") / (energy * (np.linalg.norm(piece) or 1.0))
        at = int(np.argmax(alike))
        scores.append(alike[at])
        expected.append(low + at if alike[at] > 0.5 else -1)
        if alike[at] > 0.5:
            low, high = max(0, low + at - reach), low + at + reach
    assert offsets.tolist() == expected
    assert expected[0] == 12_345 and expected[-1] == 12_345 + jump and -1 in expected
    assert match == pytest.approx(float(np.mean(scores)), abs=1e-4)
