"""Fragmented MP4: every frame comes out at once, and the stream decodes."""

from __future__ import annotations

import io

import av
import pytest
from support.clips import FPS, decode_pictures, decode_sound, lag_of, noise, picture_of

from being.media import StreamFormat
from being.media.fmp4 import Fmp4Writer


def test_fragments_come_out_frame_by_frame_and_decode() -> None:
    out: list[bytes] = []
    sound = noise(2.0)
    writer = Fmp4Writer(out.append, StreamFormat(64, 48))
    assert len(out) == 1 and out[0][4:8] == b"ftyp"  # the head is there before any frame
    assert writer.media_type.startswith('video/mp4; codecs="avc1.64')
    for index in range(50):
        before = len(out)
        writer.write_sound(sound[index * 1920 : (index + 1) * 1920])
        if index == 20:
            writer.request_key_frame()
        writer.write_frame(picture_of(index), index)
        assert len(out) == before + 1  # nothing is held back
    writer.close()
    stream = b"".join(out)
    times, pictures = decode_pictures(io.BytesIO(stream))
    assert times == pytest.approx([i / FPS for i in range(50)])
    assert abs(pictures[30][40, 60].astype(int) - picture_of(30)[40, 60]).max() <= 8
    assert abs(lag_of(decode_sound(io.BytesIO(stream)), sound)) <= 2
    with av.open(io.BytesIO(stream)) as container:
        keys = [i for i, packet in enumerate(container.demux(video=0)) if packet.is_keyframe]
    assert keys == [0, 20]


def test_a_late_picture_does_not_hold_the_sound_back() -> None:
    out: list[bytes] = []
    writer = Fmp4Writer(out.append, StreamFormat(64, 48))
    writer.write_frame(picture_of(0), 0)
    writer.write_sound(noise(0.4))
    writer.flush()
    writer.write_frame(picture_of(1), 9)
    writer.close()
    times, _ = decode_pictures(io.BytesIO(b"".join(out)))
    assert times == pytest.approx([0, 9 / FPS])
