"""MP4 and WebM files, decoded again: times, sound and picture together, colours, transparency."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from support.clips import FPS, decode_pictures, decode_sound, lag_of, picture_of, write_clip

from being.media import StreamFormat, open_writer


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("channels", [1, 2])
def test_sound_and_picture_start_together(tmp_path: Path, suffix: str, channels: int) -> None:
    path = tmp_path / f"clip{suffix}"
    sound = write_clip(path, 50, channels)
    times, pictures = decode_pictures(str(path))
    assert len(pictures) == 50
    assert times[0] == 0
    np.testing.assert_allclose(np.diff(times), 1 / FPS, atol=2e-3)
    assert abs(pictures[30][40, 60].astype(int) - picture_of(30)[40, 60]).max() <= 6
    assert abs(pictures[30][16, 16].astype(int) - (200, 60, 30)).max() <= 12
    decoded = decode_sound(str(path))
    assert decoded.shape[1] == channels
    assert abs(lag_of(decoded, sound)) <= 2
    assert abs(len(decoded) - len(sound)) < 2 * 1024


def test_mp4_has_its_index_in_front_and_says_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, 5)
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    with av.open(str(path)) as container:
        context = container.streams.video[0].codec_context
        assert context.pix_fmt == "yuv420p"
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)


def test_yuv_planes_are_written_as_they_are(tmp_path: Path) -> None:
    rgb = picture_of(10)
    planes = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p", dst_colorspace="itu709").to_ndarray()
    path = tmp_path / "clip.mp4"
    with open_writer(path, StreamFormat(64, 48, sound_channels=0)) as writer:
        writer.write_frame(planes, 0)
    _, pictures = decode_pictures(str(path))
    assert abs(pictures[0].astype(int) - rgb)[30:, 30:].max() <= 6


def test_webm_keeps_transparency(tmp_path: Path) -> None:
    path = tmp_path / "clip.webm"
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    with open_writer(path, StreamFormat(64, 48, sound_channels=0), alpha=True) as writer:
        for index in range(10):
            alpha = np.broadcast_to(np.roll(ramp, index)[None, :, None], (48, 64, 1))
            writer.write_frame(np.concatenate([picture_of(index), alpha], axis=2), index)
    decoder = av.CodecContext.create("libvpx-vp9", "r")
    with av.open(str(path)) as container:
        frames = [f for packet in container.demux(video=0) for f in decoder.decode(packet if packet.size else None)]
    assert [f.format.name for f in frames] == ["yuva420p"] * 10
    alpha = frames[0].to_ndarray(format="rgba")[..., 3]
    assert abs(alpha[24].astype(int) - ramp).max() < 16
