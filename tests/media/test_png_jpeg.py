"""Single pictures: PNG folders, JPEG."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from support.clips import decode_sound, picture_of, write_clip

from being.media.jpeg import encode_jpeg


def test_png_folder_is_lossless_and_brings_its_sound(tmp_path: Path) -> None:
    sound = write_clip(tmp_path / "frames", 3)
    names = sorted(p.name for p in (tmp_path / "frames").iterdir())
    assert names == ["frame_000000.png", "frame_000001.png", "frame_000002.png", "sound.wav"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "frames/frame_000002.png")), picture_of(2))
    np.testing.assert_allclose(decode_sound(str(tmp_path / "frames/sound.wav")), sound, atol=1e-4)


def test_jpeg_is_a_picture() -> None:
    back = np.asarray(Image.open(io.BytesIO(encode_jpeg(picture_of(5)))))
    assert abs(back.astype(int) - picture_of(5)).mean() < 3
