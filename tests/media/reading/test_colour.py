"""Colours by tags, else by size."""

from __future__ import annotations

import av
import numpy as np
import pytest

from being.media.reading.colour import coding_of, to_rgb
from being.media.reading.tone_map import Coding, to_bt709

COLOUR = np.array([180, 60, 60])
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}  # red's and blue's part of luma, H.273


def frame(matrix: int, tag: int, size: tuple[int, int] = (64, 64), full: bool = False) -> av.VideoFrame:
    """One colour as 8-bit YCbCr of a matrix, with a tag (2: none)."""
    red, blue = WEIGHTS[matrix]
    r, g, b = COLOUR / 255
    luma = red * r + (1 - red - blue) * g + blue * b
    chroma = (b - luma) / (2 - 2 * blue), (r - luma) / (2 - 2 * red)
    span, low, wide = (255, 0, 255) if full else (219, 16, 224)
    values = [low + span * luma, *(128 + wide * c for c in chroma)]
    out = av.VideoFrame(*size, "yuv444p")
    for plane, value in zip(out.planes, values, strict=True):
        plane.update(bytes([round(value)]) * plane.buffer_size)
    out.colorspace, out.color_range = tag, 2 if full else 1
    return out


def seen(shown: av.VideoFrame) -> np.ndarray:
    return to_rgb(shown, shown.width, shown.height)[4:-4, 4:-4].reshape(-1, 3).mean(0)


SD, HD, PHONE = (64, 64), (1280, 720), (720, 1280)


@pytest.mark.parametrize(
    ("matrix", "tag", "size"),
    [(1, 1, SD), (5, 5, SD), (5, 2, SD), (5, 5, HD), (1, 2, HD), (1, 2, PHONE), (9, 9, SD)],
)
def test_the_matrix_is_the_tag_s_or_by_size(matrix: int, tag: int, size: tuple[int, int]) -> None:
    assert seen(frame(matrix, tag, size)) == pytest.approx(COLOUR, abs=2.5)


def test_full_range_is_respected() -> None:
    assert seen(frame(1, 1, full=True)) == pytest.approx(COLOUR, abs=2.5)
    assert seen(frame(5, 2, full=True)) == pytest.approx(COLOUR, abs=2.5)


@pytest.mark.parametrize("coding", list(Coding))
def test_the_table_is_the_formula(coding: Coding) -> None:
    random = np.random.default_rng(0)
    codes = random.uniform(0.1, 0.6, (24, 24, 1)) + random.uniform(-0.04, 0.04, (24, 24, 3))
    raw = np.round(65535 * codes).astype(np.uint16)
    deep = av.VideoFrame.from_ndarray(raw, format="rgb48le")
    deep.color_trc = {Coding.PQ: 16, Coding.HLG: 18}.get(coding, 1)
    deep.color_primaries = 12 if coding is Coding.P3 else 9
    assert coding_of(deep) is coding
    away = np.abs(to_rgb(deep, 24, 24) - 255 * to_bt709(raw / 65535, coding))
    assert np.percentile(away, 98) < 2 and away.max() < 10  # largest where the formula has its kinks, at the gamut


def test_films_of_different_kinds_in_turn_are_each_read_as_alone() -> None:
    """The converter that is kept from frame to frame knows nothing of the frame before."""
    random = np.random.default_rng(3)
    frames = []
    for width, height in ((64, 48), (70, 50), (1280, 720)):
        picture = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
        for pixels in ("yuv420p", "yuvj420p", "yuv422p", "yuv420p10le"):
            for matrix, span in ((1, 1), (5, 1), (2, 0), (5, 2)):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
                frame.colorspace, frame.color_range = matrix, span
                frames.append(frame)
    for index in random.permutation(len(frames)).tolist():
        frame = frames[index]
        for width, height in ((frame.width, frame.height), (frame.width // 2, frame.height // 2)):
            hd_unsaid = frame.width == 1280 and int(frame.colorspace) == 2
            matrix = {"src_colorspace": 1} if hd_unsaid else {}
            alone = frame.reformat(width=width, height=height, format="rgb24", **matrix).to_ndarray()
            assert np.array_equal(to_rgb(frame, width, height), alone)
