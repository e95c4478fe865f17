"""JPEG pictures one by one."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from being.inference.frames import FrameRecord
from being.media.jpeg_sink import JpegSink


def test_jpeg_frames_carry_their_index() -> None:
    got: list[tuple[int, bytes]] = []
    sink = JpegSink(lambda index, data: got.append((index, data)))
    image = np.full((48, 64, 3), 15, np.uint8)
    sink.picture(3, FrameRecord(3, 0, image, None, None, None, np.eye(3, 4, dtype=np.float32)))
    sink.repeat(4)
    sink.sound(np.zeros((1920, 1), np.float32))
    assert [index for index, _ in got] == [3]
    back = np.asarray(Image.open(io.BytesIO(got[0][1])))
    assert back.shape == (48, 64, 3) and np.abs(back.astype(int) - 15).max() <= 2
