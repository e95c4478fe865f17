"""A session's deliveries as one client's messages."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest

from being.inference.frames import FrameRecord
from being.live.scheduler import Picture, Repeat, Sound
from being.server.client_stream import JPEG_HEAD, ClientStream, frames_of


def picture(index: int, width: int = 64, height: int = 48) -> Picture:
    image = np.full((height, width, 3), 40, np.uint8)
    return Picture("s", index, FrameRecord(index, 0, image, None, None, None, np.eye(3, 4, dtype=np.float32)))


def sound(index: int) -> Sound:
    return Sound("s", index, np.full((1920, 1), 0.25, np.float32))


def test_an_mp4_stream_begins_with_its_first_sound() -> None:
    stream = ClientStream("mp4", 64, 48)
    got = [stream.take()]
    stream.deliver([picture(8)])
    assert stream.first is None
    for index in range(10, 20):
        stream.deliver([sound(index), picture(index) if index % 3 else Repeat("s", index, "late")])
        got.append(stream.take())
    assert stream.first == 10 and stream.take() is None
    with av.open(io.BytesIO(b"".join(piece for piece in got if piece is not None))) as film:
        assert [round(frame.time * 25) for frame in film.decode(video=0)] == list(range(10))


def test_pictures_of_another_size_are_left_out() -> None:
    stream = ClientStream("mp4", 64, 48)
    stream.deliver([sound(0), picture(0, 80, 60), picture(1)])
    data = stream.take()
    assert data is not None
    with av.open(io.BytesIO(data)) as film:
        assert [round(frame.time * 25) for frame in film.decode(video=0)] == [1]


def test_jpeg_messages_say_frame_and_time() -> None:
    stream = ClientStream("jpeg", 64, 48)
    stream.deliver([picture(4), sound(5), picture(5)])
    stream.deliver([sound(6), Repeat("s", 6, "late")])
    messages = []
    while (message := stream.take()) is not None:
        messages.append(message)
    assert [JPEG_HEAD.unpack_from(message) for message in messages] == [
        (b"PCM ", 5, 0),
        (b"JPEG", 5, 0),
        (b"PCM ", 6, 40_000),
    ]
    pcm = np.frombuffer(messages[0][JPEG_HEAD.size :], "<i2")
    assert len(pcm) == 1920 and pcm[0] == pytest.approx(8192, abs=1)


@pytest.mark.parametrize("format", ["mp4", "jpeg"])
def test_what_is_cut_counts_as_dropped(format: str) -> None:
    stream = ClientStream(format, 64, 48)  # type: ignore[arg-type]
    stream.deliver([sound(0), picture(0)])
    stream.cut()
    assert stream.take() is None and stream.dropped == 2


def test_frames_of_a_delivery() -> None:
    assert frames_of(Sound("s", 3, np.zeros((3840, 1), np.float32))) == range(3, 5)
    assert frames_of(Repeat("s", 7, "late")) == range(7, 8)
