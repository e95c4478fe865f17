"""Every format, decoded again: size, times, sound and picture together, transparency, nothing half-written."""

from __future__ import annotations

import io
import resource
import signal
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from being.errors import InputError
from being.video import StreamFormat, open_writer
from being.video.boxes import split_nal_units
from being.video.fmp4 import Fmp4Writer
from being.video.jpeg import encode_jpeg
from being.video.png import PngPipe

RATE = 48_000
FPS = 25


def picture_of(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A flat picture whose brightness says its index, with a red square."""
    picture = np.full((height, width, 3), 40 + 4 * (index % 40), np.uint8)
    picture[8:24, 8:24] = (200, 60, 30)
    return picture


def noise(seconds: float, channels: int = 1) -> np.ndarray:
    """Band-limited noise: its correlation with a delayed copy peaks at one lag only."""
    rng = np.random.default_rng(3)
    raw = rng.standard_normal((int(seconds * RATE), channels))
    kernel = np.hanning(16)
    smooth = np.stack([np.convolve(raw[:, c], kernel / kernel.sum(), "same") for c in range(channels)], axis=1)
    return (0.5 * smooth / np.abs(smooth).max()).astype(np.float32)


def decode_sound(source: object) -> np.ndarray:
    """All sound, (S, channels), placed at the times its frames state."""
    with av.open(source) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler("fltp", stream.codec_context.layout, RATE)
        out: list[np.ndarray] = []
        first = None
        for frame in container.decode(stream):
            first = frame.time if first is None else first
            out += [f.to_ndarray() for f in resampler.resample(frame)]
    sound = np.concatenate(out, axis=1).T
    assert first is not None
    lead = round(first * RATE)
    return np.pad(sound, ((lead, 0), (0, 0))) if lead >= 0 else sound[-lead:]


def lag_of(decoded: np.ndarray, original: np.ndarray) -> int:
    """By how many samples the decoded sound comes late."""
    size = min(len(decoded), len(original))
    a, b = decoded[:size, 0], original[:size, 0]
    spectrum = np.fft.rfft(a, 2 * size) * np.conj(np.fft.rfft(b, 2 * size))
    correlation = np.fft.irfft(spectrum)
    best = int(np.argmax(correlation))
    return best if best < size else best - 2 * size


def decode_pictures(source: object) -> tuple[list[float], list[np.ndarray]]:
    with av.open(source) as container:
        frames = list(container.decode(video=0))
    return [float(f.time) for f in frames], [f.to_ndarray(format="rgb24") for f in frames]


def write_clip(path: Path, frames: int, channels: int = 1) -> np.ndarray:
    sound = noise(frames / FPS, channels)
    with open_writer(path, StreamFormat(64, 48, sound_channels=channels)) as writer:
        for start in range(0, len(sound), 777):  # an awkward chunking
            writer.write_sound(sound[start : start + 777])
        for index in range(frames):
            writer.write_frame(picture_of(index), index)
    return sound


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


def test_png_folder_is_lossless_and_brings_its_sound(tmp_path: Path) -> None:
    sound = write_clip(tmp_path / "frames", 3)
    names = sorted(p.name for p in (tmp_path / "frames").iterdir())
    assert names == ["frame_000000.png", "frame_000001.png", "frame_000002.png", "sound.wav"]
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "frames/frame_000002.png")), picture_of(2))
    np.testing.assert_allclose(decode_sound(str(tmp_path / "frames/sound.wav")), sound, atol=1e-4)


def test_png_pipe_and_jpeg_are_pictures() -> None:
    out = io.BytesIO()
    with PngPipe(out, StreamFormat(64, 48)) as pipe:
        pipe.write_frame(picture_of(1), 0)
        pipe.write_frame(picture_of(2), 1)
    assert out.getvalue().count(b"\x89PNG") == 2
    back = np.asarray(Image.open(io.BytesIO(encode_jpeg(picture_of(5)))))
    assert abs(back.astype(int) - picture_of(5)).mean() < 3


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm", "frames"])
def test_an_error_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(RuntimeError), open_writer(tmp_path / name, StreamFormat(64, 48)) as writer:
        writer.write_frame(picture_of(0), 0)
        writer.write_sound(noise(0.1))
        raise RuntimeError("the model died")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["clip.mp4", "clip.webm"])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    rng = np.random.default_rng(0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # what a full disk looks like, for this process
    try:
        with (
            pytest.raises(InputError, match="cannot be written"),
            open_writer(tmp_path / name, StreamFormat(256, 256)) as writer,
        ):
            for index in range(60):
                writer.write_sound(noise(0.04))
                writer.write_frame(rng.integers(0, 255, (256, 256, 3), dtype=np.uint8), index)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_targets_are_checked_before_any_work(tmp_path: Path) -> None:
    format = StreamFormat(64, 48)
    (tmp_path / "old.mp4").write_bytes(b"precious")
    with pytest.raises(InputError, match="exists"):
        open_writer(tmp_path / "old.mp4", format)
    assert (tmp_path / "old.mp4").read_bytes() == b"precious"
    with pytest.raises(InputError, match="folder does not exist"):
        open_writer(tmp_path / "no/clip.mp4", format)
    with pytest.raises(InputError, match=r"\.avi"):
        open_writer(tmp_path / "clip.avi", format)
    with pytest.raises(InputError, match="transparent"):
        open_writer(tmp_path / "clip.mp4", format, alpha=True)
    with pytest.raises(InputError, match="even"):
        open_writer(tmp_path / "clip.mp4", StreamFormat(63, 48))
    (tmp_path / "album").mkdir()
    (tmp_path / "album/holiday.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match=r"holiday\.jpg"):
        open_writer(tmp_path / "album", format, overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["album", "old.mp4"]


def test_a_failed_render_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"precious")
    with pytest.raises(RuntimeError), open_writer(tmp_path / "clip.mp4", StreamFormat(64, 48), overwrite=True):
        raise RuntimeError
    assert (tmp_path / "clip.mp4").read_bytes() == b"precious"


def test_wrong_pictures_and_sound_are_named() -> None:
    format = StreamFormat(64, 48)
    with pytest.raises(ValueError, match=r"\(48, 60, 3\)"):
        format.kind_of(np.zeros((48, 60, 3), np.uint8))
    with pytest.raises(ValueError, match="float"):
        format.kind_of(np.zeros((48, 64, 3), np.float32))
    with pytest.raises(InputError, match="5000"):
        StreamFormat(5000, 48)


def test_nal_units_are_split_at_both_start_codes() -> None:
    assert split_nal_units(b"\0\0\0\1\x67ab\0\0\1\x68c\0\0\0\1\x65d") == [b"\x67ab", b"\x68c", b"\x65d"]
