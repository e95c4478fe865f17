"""Any audio file becomes samples; what is not one is refused in one line that says why."""

import contextlib
import io
import socket
import threading
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from being.errors import InputError
from being.media.reading import sound_scan
from being.media.reading.sound_reader import open_sound


def _wav(path: Path, sound: np.ndarray, rate: int, width: int = 2) -> Path:
    """sound (S, channels) in [-1, 1]."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(sound.shape[1])
        out.setsampwidth(width)
        out.setframerate(rate)
        if width == 1:
            out.writeframes((np.round(sound * 127) + 128).astype(np.uint8).tobytes())
        else:
            out.writeframes(np.round(sound * 32767).astype("<i2").tobytes())
    return path


def _tone(hz: float, rate: int, seconds: float = 1.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)


def _encoded(path: Path, codec: str, sample_format: str, rate: int) -> Path:
    sound = _tone(440.0, rate, 2.0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.format = sample_format
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.round(sound * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(format=sample_format, layout="mono", rate=rate)
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(part))
    return path


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("width", [1, 2])
def test_wav_of_any_rate(tmp_path: Path, rate: int, width: int) -> None:
    sound = open_sound(_wav(tmp_path / "a.wav", _tone(440.0, rate)[:, None], rate, width))
    samples = sound.model_pcm()
    assert samples.dtype == np.float32 and len(samples) == pytest.approx(16_000, abs=1)
    assert sound.seconds == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(samples[400:-400], _tone(440.0, 16_000)[400:-400], atol=0.01)


def test_stereo_is_mixed_for_the_ear_and_kept_for_the_sound_track(tmp_path: Path) -> None:
    stereo = np.stack([_tone(440.0, 44_100), np.zeros(44_100)], axis=1)
    path = _wav(tmp_path / "a.wav", stereo, 44_100)
    sound = open_sound(path)
    np.testing.assert_allclose(sound.model_pcm()[400:-400], 0.5 * _tone(440.0, 16_000)[400:-400], atol=1e-3)
    track = sound.playback_pcm()
    assert track.shape == (48_000, 2)
    assert np.abs(track[:, 0]).max() > 0.4
    assert np.abs(track[:, 1]).max() == 0.0


@pytest.mark.parametrize(
    ("name", "codec", "sample_format", "rate"),
    [("a.mp3", "mp3", "fltp", 44_100), ("a.flac", "flac", "s16", 48_000), ("a.m4a", "aac", "fltp", 48_000)],
)
def test_compressed_formats(tmp_path: Path, name: str, codec: str, sample_format: str, rate: int) -> None:
    sound = open_sound(_encoded(tmp_path / name, codec, sample_format, rate))
    assert sound.seconds == pytest.approx(2.0, abs=0.1)
    middle = sound.model_pcm()[8000:24_000]
    assert np.abs(np.fft.rfft(middle)).argmax() == 440
    assert np.abs(middle).max() == pytest.approx(0.5, abs=0.08)  # lossy


def test_an_open_file_is_as_good_as_a_path(tmp_path: Path) -> None:
    path = _wav(tmp_path / "a.wav", _tone(440.0, 16_000)[:, None], 16_000)
    upload = io.BytesIO(path.read_bytes())
    np.testing.assert_array_equal(open_sound(upload).model_pcm(), open_sound(path).model_pcm())


def test_what_is_not_audio(tmp_path: Path) -> None:
    text, empty, hollow = tmp_path / "a.txt", tmp_path / "b.wav", tmp_path / "c.wav"
    text.write_text("not a sound\n" * 50)
    empty.touch()
    _wav(hollow, np.zeros((0, 1)), 16_000)
    for source, problem in [
        (text, "not readable as sound or film"),
        (empty, "is empty"),
        (hollow, "holds no samples"),
        (tmp_path / "none.wav", "does not exist"),
        (tmp_path, "is not a file"),
        (io.BytesIO(b"nonsense"), "the upload is not readable as sound or film"),
    ]:
        with pytest.raises(InputError, match=problem) as caught:
            open_sound(source)
        assert "\n" not in str(caught.value)


def test_a_silent_film_holds_no_sound(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for part in (av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24"), None):
            container.mux(stream.encode(part))
    with pytest.raises(InputError, match="holds no sound"):
        open_sound(tmp_path / "a.mp4")


PLAYLISTS = {
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
    "key.m3u8": '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:1,\n{target}\n'
    "#EXT-X-ENDLIST\n",
    "list.ffconcat": "ffconcat version 1.0\nfile '{target}'\n",
    "list.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" '
    'bandwidth="1"><BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
}


@pytest.mark.parametrize("form", ["path", "upload"])
@pytest.mark.parametrize("name", list(PLAYLISTS))
def test_a_playlist_cannot_make_us_open_another_file_or_address(tmp_path: Path, name: str, form: str) -> None:
    _wav(tmp_path / "secret.wav", _tone(440.0, 16_000)[:, None], 16_000)
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.setblocking(False)
        address = f"http://127.0.0.1:{stranger.getsockname()[1]}/a.ts"
        for target in (str(tmp_path / "secret.wav"), f"file:{tmp_path}/secret.wav", address):
            listed = tmp_path / name
            listed.write_text(PLAYLISTS[name].replace("{target}", target))
            with listed.open("rb") as file, pytest.raises(InputError, match="not readable as sound or film"):
                open_sound(listed if form == "path" else io.BytesIO(file.read()))
        with pytest.raises(BlockingIOError):  # nobody called
            stranger.accept()


def test_the_address_would_be_called_if_playlists_were_read(tmp_path: Path) -> None:
    """The test above can fail: FFmpeg that may goes where a playlist sends it."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.settimeout(60)
        listed = tmp_path / "list.m3u8"
        address = f"http://127.0.0.1:{stranger.getsockname()[1]}/a.ts"
        listed.write_text(PLAYLISTS["list.m3u8"].replace("{target}", address))
        opening = threading.Thread(target=_open_carelessly, args=(listed,), daemon=True)
        opening.start()
        caller, _ = stranger.accept()
        caller.close()
        opening.join(60)


def _open_carelessly(path: Path) -> None:
    free = {"protocol_whitelist": "file,http,tcp"}
    with contextlib.suppress(av.error.FFmpegError), av.open(str(path), options=free) as container:
        next(container.decode(audio=0), None)


def test_hours_of_silence_in_a_few_bytes_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FLAC keeps an hour of silence in 90 kB; here its header does not say how long it is."""
    path = tmp_path / "bomb.flac"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=8000, layout="mono")
        stream.format = "s16"
        for second in range(600):
            block = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
            block.sample_rate, block.pts = 8000, second * 8000
            container.mux(stream.encode(block))
        container.mux(stream.encode(None))
    data = bytearray(path.read_bytes())
    assert data[:4] == b"fLaC" and len(data) < 200_000
    data[21] &= 0xF0  # the total of samples, 36 bits of the stream's head: unknown
    data[22:26] = bytes(4)
    decoded = 0
    planes = sound_scan.planes_of

    def counted(frame: av.AudioFrame) -> np.ndarray:
        nonlocal decoded
        decoded += frame.samples
        return planes(frame)

    monkeypatch.setattr(sound_scan, "planes_of", counted)
    with pytest.raises(InputError, match="longer than the limit of 5 s"):
        open_sound(io.BytesIO(bytes(data)), limit_s=5.0)
    assert decoded < 8000 * 7


def test_an_absurd_sample_rate_is_refused(tmp_path: Path) -> None:
    data = bytearray(_wav(tmp_path / "a.wav", _tone(440.0, 16_000)[:, None], 16_000).read_bytes())
    data[24:28] = (1_999_999_973).to_bytes(4, "little")
    with pytest.raises(InputError, match="sample rate"):
        open_sound(io.BytesIO(bytes(data)))


def test_a_stated_duration_beyond_the_limit_is_refused_before_decoding(tmp_path: Path) -> None:
    path = _wav(tmp_path / "long.wav", np.zeros((8000 * 20, 1)), 8000, width=1)
    with pytest.raises(InputError, match=r"lasts 20 s, the limit is 10 s"):
        open_sound(path, limit_s=10.0)
    assert open_sound(path, limit_s=20.0).seconds == pytest.approx(20.0)


def test_an_unstated_duration_is_counted_while_decoding(tmp_path: Path) -> None:
    # A raw MP3 stream without a duration header, fed through a source that cannot seek to its end.
    class Pipe(io.RawIOBase):
        def __init__(self, data: bytes) -> None:
            self._rest = io.BytesIO(data)

        def read(self, size: int = -1) -> bytes:
            return self._rest.read(size)

        def readable(self) -> bool:
            return True

        def seekable(self) -> bool:
            return False

    adts = tmp_path / "a.aac"
    _encoded(adts, "aac", "fltp", 48_000)
    with pytest.raises(InputError, match=r"longer than the limit of 1\.5 s"):
        open_sound(Pipe(adts.read_bytes()), limit_s=1.5)  # type: ignore[arg-type]
