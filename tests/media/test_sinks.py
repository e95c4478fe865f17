"""Sinks: what a client gets, and what it costs when it is slow."""

from __future__ import annotations

import io

import av
import numpy as np
import pytest
from PIL import Image

from being.errors import BeingError
from being.inference.frames import FrameRecord
from being.live.scheduler import Picture, Repeat, Sound
from being.media import StreamFormat
from being.media.sinks import Fmp4Sink, JpegSink, SendQueue, deliver, picture_of


def record_of(index: int, *, alpha: bool = False) -> FrameRecord:
    image = np.full((48, 64, 3), 5 * index, np.uint8)
    mask = np.full((48, 64), 100, np.uint8) if alpha else None
    return FrameRecord(index, 0, image, mask, None, None, np.eye(3, 4, dtype=np.float32))


def drain(outbox: SendQueue) -> list[bytes]:
    pieces = []
    while (piece := outbox.take()) is not None:
        pieces.append(piece)
    return pieces


def test_an_outbox_skips_to_the_next_start_and_keeps_the_head() -> None:
    asked = []
    outbox = SendQueue(10, lambda: asked.append(True))
    assert outbox.put(b"head" * 5, starts=False, keep=True)
    assert drain(outbox) == [b"head" * 5]
    assert outbox.put(b"key1", starts=True) and outbox.put(b"dlt1", starts=False)
    assert not outbox.put(b"dlt2", starts=False)  # over the limit: all of it is stale
    assert asked == [True] and outbox.size == 0 and outbox.dropped == 3
    assert not outbox.put(b"dlt3", starts=False)
    assert outbox.put(b"key2", starts=True) and outbox.put(b"dlt4", starts=False)
    assert drain(outbox) == [b"key2", b"dlt4"]
    assert asked == [True]


def test_a_key_frame_itself_can_end_the_jam() -> None:
    outbox = SendQueue(10, pytest.fail)
    outbox.put(b"12345678", starts=True)
    assert outbox.put(b"87654321", starts=True)
    assert drain(outbox) == [b"87654321"]


def test_a_slow_client_gets_a_stream_that_decodes() -> None:
    sink = Fmp4Sink(StreamFormat(64, 48), limit=6000)
    got = drain(sink.outbox)
    for index in range(60):
        deliver(sink, Sound("s", index, np.zeros((1920, 1), np.float32)))
        deliver(sink, Picture("s", index, record_of(index)) if index % 7 else Repeat("s", index, "late"))
        if not 20 <= index < 45:  # the client stalls for a second
            got += drain(sink.outbox)
    sink.close()
    got += drain(sink.outbox)
    assert sink.outbox.dropped > 0
    with av.open(io.BytesIO(b"".join(got))) as container:
        frames = list(container.decode(video=0))
    times = [round(frame.time * 25) for frame in frames]
    assert times == sorted(set(times)) and times[-1] == 59 and len(times) < 60
    after = next(frame for frame, time in zip(frames, times, strict=True) if time > 30)
    assert after.key_frame
    last = frames[-1].to_ndarray(format="rgb24")
    assert abs(last.astype(int) - 5 * 59 % 256).max() < 40 or times[-1] % 7 == 0


def test_jpeg_frames_carry_their_index() -> None:
    got: list[tuple[int, bytes]] = []
    sink = JpegSink(lambda index, data: got.append((index, data)))
    deliver(sink, Picture("s", 3, record_of(3)))
    deliver(sink, Repeat("s", 4, "late"))
    deliver(sink, Sound("s", 3, np.zeros((1920, 1), np.float32)))
    assert [index for index, _ in got] == [3]
    assert np.asarray(Image.open(io.BytesIO(got[0][1]))).shape == (48, 64, 3)


def test_pictures_take_their_alpha_along_and_errors_are_raised() -> None:
    assert picture_of(record_of(1, alpha=True), alpha=True).shape == (48, 64, 4)
    assert picture_of(record_of(1, alpha=True)).shape == (48, 64, 3)
    broken = FrameRecord(7, 0, None, None, None, None, np.eye(3, 4, dtype=np.float32), "no such avatar")
    with pytest.raises(BeingError, match="no such avatar"):
        picture_of(broken)
