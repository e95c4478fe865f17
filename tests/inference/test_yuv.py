"""RGB to 4:2:0: exact on flat colours, sited left, and what FFmpeg makes of it is the picture again."""

from __future__ import annotations

import numpy as np
import pytest

from being.errors import InputError
from being.inference.yuv import rgb_to_yuv420

COLOURS = {
    # Y, U, V of ITU-R BT.709 and BT.601, limited range
    "bt709": {(0, 0, 0): (16, 128, 128), (255, 255, 255): (235, 128, 128), (255, 0, 0): (63, 102, 240)},
    "bt601": {(0, 0, 0): (16, 128, 128), (255, 255, 255): (235, 128, 128), (255, 0, 0): (81, 90, 240)},
}


@pytest.mark.parametrize("matrix", ["bt709", "bt601"])
def test_flat_colours(matrix: str) -> None:
    for rgb, (y, u, v) in COLOURS[matrix].items():
        planes = rgb_to_yuv420(np.full((4, 6, 3), rgb, np.uint8), matrix)  # type: ignore[arg-type]
        assert planes.shape == (6, 6)
        assert (planes[:4] == y).all()
        assert (planes.reshape(-1)[24:30] == u).all() and (planes.reshape(-1)[30:] == v).all()


def test_matches_floating_point() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    planes = rgb_to_yuv420(rgb).astype(float)
    r, g, b = np.moveaxis(rgb.astype(float), -1, 0)
    luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
    assert np.abs(planes[:16] - (16 + luma * 219 / 255)).max() <= 0.51
    for plane, difference in ((0, (b - luma) / 1.8556), (1, (r - luma) / 1.5748)):
        left = np.concatenate([difference[:, :1], difference[:, 1:-1:2]], axis=1)
        filtered = (left + 2 * difference[:, ::2] + difference[:, 1::2]) / 4
        expected = 128 + 224 / 255 * (filtered[::2] + filtered[1::2]) / 2
        found = planes.reshape(-1)[16 * 24 :].reshape(2, 8, 12)[plane]
        assert np.abs(found - expected).max() <= 1.0


def test_ffmpeg_reads_the_planes_back() -> None:
    av = pytest.importorskip("av")
    rows, columns = np.mgrid[0:64, 0:96]
    rgb = np.stack([columns * 2, rows * 3, 255 - columns - rows], axis=-1).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(rgb_to_yuv420(rgb), format="yuv420p")
    errors = []
    for matrix in ("itu709", "itu601"):
        back = frame.reformat(format="rgb24", src_colorspace=matrix, dst_colorspace=matrix).to_ndarray()
        errors.append(np.abs(back.astype(int) - rgb).mean())
    assert errors[0] < 2 < 3 * errors[0] < errors[1]  # the right matrix, up to FFmpeg's doubling of chroma pixels


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="5x4"):
        rgb_to_yuv420(np.zeros((4, 5, 3), np.uint8))
