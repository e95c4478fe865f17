"""The H.264 encoder: one packet a picture, key frames on request, profile and bit rate as set."""

from __future__ import annotations

import av
import numpy as np
import pytest

from being.media import StreamFormat
from being.media.h264 import codec_string, with_parameter_sets
from being.media.packet import Packet
from being.media.video_encoder import H264Encoder, VideoSettings


def planes_of(index: int, width: int, height: int) -> np.ndarray:
    """4:2:0 planes: a luma ramp that moves, two flat chroma planes."""
    ramp = np.add.outer(np.arange(height), np.arange(width) + 3 * index) % 200 + 20
    chroma = np.repeat([[90], [160]], width * height // 4, axis=1).reshape(height // 2, width)
    return np.concatenate([ramp, chroma]).astype(np.uint8)


def decoded(packets: list[Packet], encoder: H264Encoder) -> list[np.ndarray]:
    """As a WebRTC peer decodes it: a byte stream with the parameter sets in front of key frames."""
    decoder = av.CodecContext.create("h264", "r")
    frames = []
    for packet in packets:
        data = with_parameter_sets(packet.data, encoder.parameter_sets) if packet.key else packet.data
        frames += decoder.decode(av.Packet(data))
    return [frame.to_ndarray() for frame in frames + decoder.decode(None)]


@pytest.mark.parametrize(("width", "height"), [(64, 48), (408, 312), (66, 50)])  # rows of FFmpeg's frames are padded
def test_planes_come_back(width: int, height: int) -> None:
    encoder = H264Encoder(StreamFormat(width, height), VideoSettings(quality=10))
    packets = []
    for index in range(6):
        if index == 3:
            encoder.request_key_frame()
        made = encoder.encode(planes_of(index, width, height), index)
        assert len(made) == 1, "a picture comes out as it goes in"
        packets += made
    assert [packet.key for packet in packets] == [True, False, False, True, False, False]
    assert [(packet.pts, packet.dts, packet.duration) for packet in packets] == [(i, i, 1) for i in range(6)]
    pictures = decoded(packets, encoder)
    assert len(pictures) == 6
    for index, picture in enumerate(pictures):
        error = picture.astype(int) - planes_of(index, width, height)
        assert np.sqrt(np.mean(error**2)) < 3, index


def test_key_frames_come_as_far_apart_as_is_set() -> None:
    encoder = H264Encoder(StreamFormat(64, 48), VideoSettings(key_frame_s=2))
    packets = [packet for index in range(120) for packet in encoder.encode(planes_of(index, 64, 48), index)]
    assert [packet.pts for packet in packets if packet.key] == [0, 50, 100]


def test_a_still_background_costs_bits_once() -> None:
    """A face's worth of noise moves in front of a detailed background."""
    random = np.random.default_rng(0)
    still = np.concatenate([random.integers(60, 180, (128, 128)), np.full((64, 128), 128)]).astype(np.uint8)
    grey = np.full_like(still, 128)
    sizes = {}
    for name, background in (("detailed", still), ("grey", grey)):
        encoder = H264Encoder(StreamFormat(128, 128))
        pictures = np.repeat(background[None], 100, 0)
        pictures[:, 48:80, 48:80] = np.random.default_rng(1).integers(16, 235, (100, 32, 32))
        sizes[name] = [len(packet.data) for i, picture in enumerate(pictures) for packet in encoder.encode(picture, i)]
    beyond = np.subtract(sizes["detailed"], sizes["grey"])
    assert beyond[0] > 2_000
    assert beyond[25:].max() < 0.1 * beyond[0]
    assert abs(beyond[25:].mean()) < 0.01 * beyond[0]


@pytest.mark.parametrize(("profile", "number"), [("baseline", 66), ("main", 77), ("high", 100)])
def test_profiles(profile: str, number: int) -> None:
    encoder = H264Encoder(StreamFormat(64, 48), VideoSettings(profile=profile))  # type: ignore[arg-type]
    assert codec_string(encoder.parameter_sets).startswith(f"avc1.{number:02x}")


def test_a_bit_rate_is_kept() -> None:
    noise = np.random.default_rng(0).integers(16, 235, (50, 96 * 3 // 2, 128), np.uint8)
    sizes = {}
    for bit_rate in (None, 400_000):
        encoder = H264Encoder(StreamFormat(128, 96), VideoSettings(bit_rate=bit_rate))
        sizes[bit_rate] = sum(len(p.data) for i in range(50) for p in encoder.encode(noise[i], i))
    assert sizes[None] > 3 * sizes[400_000]
    assert 8 * sizes[400_000] <= (2.0 + 0.5) * 400_000, "two seconds, and what the buffer lets go ahead"
    with pytest.raises(ValueError, match="bit rate"):
        VideoSettings(bit_rate=0)
