"""Fragmented MP4 to one client: what it gets, and what it costs when it is slow."""

from __future__ import annotations

import io
from types import SimpleNamespace

import av
import numpy as np
import pytest

from being.media import StreamFormat
from being.media.fmp4_sink import Fmp4Sink
from being.media.packet import Packet

PICTURES = (48, 64)


def frame_of(index: int) -> SimpleNamespace:
    return SimpleNamespace(index=index, image=np.full((*PICTURES, 3), 4 * index, np.uint8), alpha=None, error=None)


def drain(sink: Fmp4Sink) -> list[bytes]:
    piece = sink.queue.take_all()
    return [piece] if piece is not None else []


def test_a_slow_client_gets_a_stream_that_decodes() -> None:
    sink = Fmp4Sink(StreamFormat(64, 48), limit=3000)
    got = drain(sink)
    for index in range(60):
        sink.sound(np.zeros((1920, 1), np.float32))
        if index % 7:
            sink.picture(index, frame_of(index))
        else:
            sink.repeat(index)
        sink.flush()
        if not 20 <= index < 45:  # the client stalls for a second
            got += drain(sink)
    sink.close()
    got += drain(sink)
    assert sink.queue.dropped > 0
    with av.open(io.BytesIO(b"".join(got))) as container:
        frames = list(container.decode(video=0))
    times = [round(frame.time * 25) for frame in frames]
    assert times == sorted(set(times)) and times[-1] == 59 and len(times) < 60
    after = next(frame for frame, time in zip(frames, times, strict=True) if time > 30)
    assert after.key_frame
    for frame, time in zip(frames, times, strict=True):
        shown = time if time % 7 else time - 1  # every seventh repeats the one before
        if shown > 0:
            assert abs(frame.to_ndarray(format="rgb24").astype(int) - 4 * shown).max() <= 6, time


def test_sound_and_picture_of_a_batch_are_one_fragment() -> None:
    sink = Fmp4Sink(StreamFormat(64, 48))
    drain(sink)
    for index in range(3):
        sink.sound(np.zeros((1920, 1), np.float32))
        sink.picture(index, frame_of(index))
        sink.flush()
        (piece,) = drain(sink)
        assert piece.count(b"moof") == 1 and piece.count(b"traf") == 1 + (index > 0)  # the first sound only primes


def test_the_codec_string_is_what_the_stream_says() -> None:
    sink = Fmp4Sink(StreamFormat(512, 512))
    head = sink.queue.take()
    assert head is not None
    configuration = head[head.index(b"avcC") + 4 :]
    assert f"avc1.{configuration[1:4].hex()}" in sink.media_type
    assert configuration[1] == 66 and configuration[3] == 31, "baseline, level 3.1"
    assert configuration[configuration.index(b"\x67") + 1 :][:3] == configuration[1:4], "and so does the SPS"


def test_another_consumer_takes_the_same_encode() -> None:
    sink = Fmp4Sink(StreamFormat(64, 48))
    packets: list[Packet] = []
    for index in range(4):
        if index == 2:
            sink.encoder.consumers.append(packets.append)
            sink.encoder.video.request_key_frame()
        sink.picture(index, frame_of(index))
        sink.flush()
    assert [(packet.track, packet.pts, packet.key) for packet in packets] == [("video", 2, True), ("video", 3, False)]
    stream = b"".join(drain(sink))
    assert stream.count(b"moof") == 4 and packets[0].data[-20:] in stream, "one encode for both"


def test_a_frame_that_failed_is_told() -> None:
    sink = Fmp4Sink(StreamFormat(64, 48))
    with pytest.raises(Exception, match="no such avatar"):
        sink.picture(0, SimpleNamespace(index=0, image=None, alpha=None, error="no such avatar"))
