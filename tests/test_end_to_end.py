"""`being render` from file to file: what comes out is decoded and compared; what is wrong leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import pickle
import signal
import struct
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from support.native_refiner import give_refiner, trained
from support.sound_files import Track, speech, upsampled, write_media

from being import cli
from being.avatar.folder import Avatar

RATE = 44_100  # Hz of the sound files made here: neither of the rates used inside
SPEECH = Path(__file__).parents[2] / "shared/clips/speech_en.wav"  # real speech, beside the checkout only


def write_sound(path: Path, seconds: float, channels: int = 2) -> np.ndarray:
    """Syllables of tones as 16-bit WAV; returns the same (S, channels) at 48 kHz for comparison."""
    rng = np.random.default_rng(5)
    partials = list(zip(rng.uniform(150, 3000, 12), rng.uniform(0, 6, 12), strict=True))

    def made(rate: int) -> np.ndarray:
        time = np.arange(int(seconds * rate)) / rate
        tones = sum(np.sin(2 * np.pi * frequency * time + phase) for frequency, phase in partials)
        return (0.1 * tones * np.sin(2 * np.pi * 2.3 * time) ** 2)[:, None].repeat(channels, 1)

    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.rint(np.clip(made(RATE), -1, 1) * 32767).astype("<i2").tobytes())
    return made(48_000).astype(np.float32)


def render(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """`being render ARGUMENTS` in this process: exit status, stdout, the lines of stderr that are not progress."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["being", "render", *map(str, arguments)])
        patch.setattr("signal.signal", lambda *_: None)
        with pytest.raises(SystemExit) as leave:
            cli.main()
    out, err = capsys.readouterr()
    return int(leave.value.code or 0), out, "\n".join(line for line in err.splitlines() if not line.startswith("{"))


def decoded(path: Path) -> tuple[list[float], np.ndarray, np.ndarray]:
    """Picture times (s), the last picture (RGB), the sound (S, channels) at 48 kHz from its first stated time."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    with av.open(str(path)) as container:
        blocks = list(container.decode(audio=0))
    sound = np.concatenate([block.to_ndarray() for block in blocks], axis=1)
    channels = blocks[0].layout.nb_channels
    sound = sound.T if blocks[0].format.is_planar else sound.reshape(-1, channels)
    assert abs(blocks[0].time) < 0.001 and blocks[0].sample_rate == 48_000
    return [float(frame.time) for frame in frames], frames[-1].to_ndarray(format="rgb24"), sound


def lag_s(sound: np.ndarray, original: np.ndarray) -> float:
    """By how much the sound comes late, from the peak of the cross-correlation."""
    size = 2 * max(len(sound), len(original))
    spectrum = np.fft.rfft(sound[:, 0], size) * np.conj(np.fft.rfft(original[:, 0], size))
    best = int(np.argmax(np.fft.irfft(spectrum)))
    return (best if best < size // 2 else best - size) / 48_000


@pytest.mark.parametrize("name", ["talk.mp4", "talk.webm"])
def test_sound_becomes_a_video_in_step_with_it(
    capsys: pytest.CaptureFixture[str], tiny_avatar: Avatar, tmp_path: Path, name: str
) -> None:
    sound = write_sound(tmp_path / "in.wav", 2.33)
    out = tmp_path / name
    status, summary, err = render(capsys, tmp_path / "in.wav", "-o", out, "--avatar", tiny_avatar.folder)
    assert (status, err) == (0, "")
    assert "59 frames of 64x48" in summary and "look-ahead 4" in summary and "x real time" in summary
    times, picture, heard = decoded(out)
    assert times[0] == 0 and len(times) == 59
    np.testing.assert_allclose(np.diff(times), 0.04, atol=2e-3)
    assert picture.shape == (48, 64, 3) and picture.std() > 5
    assert heard.shape[1] == 2
    assert abs(lag_s(heard, sound)) < 0.002
    assert 0 <= len(heard) / 48_000 - 2.33 < 0.1
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["avatars", "in.wav", name])


def test_the_avatar_that_ships_speaks_the_sample(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, err = render(capsys, "--sample", "-o", tmp_path / "hello.mp4", "--size", "128x128")
    assert (status, err) == (0, "")
    with av.open(str(tmp_path / "hello.mp4")) as container:
        pictures = [frame.to_ndarray(format="gray").astype(int) for frame in container.decode(video=0)]
    assert len(pictures) == 118  # 4.7 s
    still, moving = (np.abs(np.diff(pictures[low:high], axis=0)).mean() for low, high in ((0, 5), (10, 40)))
    assert moving > 1.3 * still > 0  # it says something, after a moment of silence


def test_nothing_behind_the_avatar_is_transparent(
    capsys: pytest.CaptureFixture[str], tiny_avatar: Avatar, tmp_path: Path
) -> None:
    write_sound(tmp_path / "in.wav", 0.4, 1)
    for out in ("talk.webm", "frames"):
        options = ["-o", tmp_path / out, "--avatar", tiny_avatar.folder, "--background", "none", "--size", "96x64"]
        status, _, err = render(capsys, tmp_path / "in.wav", *options)
        assert (status, err) == (0, "")
    picture = np.asarray(Image.open(tmp_path / "frames/frame_000009.png"))
    assert picture.shape == (64, 96, 4)
    assert picture[..., 3].min() == 0 and picture[..., 3].max() > 200
    assert len(list((tmp_path / "frames").glob("*.png"))) == 10 and (tmp_path / "frames/sound.wav").is_file()
    decoder = av.CodecContext.create("libvpx-vp9", "r")  # the only VP9 decoder that keeps transparency
    with av.open(str(tmp_path / "talk.webm")) as container:
        frames = [f for packet in container.demux(video=0) for f in decoder.decode(packet if packet.size else None)]
    alpha = frames[9].to_ndarray(format="rgba")[..., 3]
    assert abs(alpha.astype(int) - picture[..., 3]).mean() < 8


def test_the_background_can_be_chosen_and_the_rest_repeats(
    capsys: pytest.CaptureFixture[str], tiny_avatar: Avatar, tmp_path: Path
) -> None:
    write_sound(tmp_path / "in.wav", 0.4, 1)
    pictures = []
    for index, options in enumerate(([], [], ["--background", "#ff0000"])):
        out = tmp_path / f"{index}"
        status, _, _ = render(capsys, tmp_path / "in.wav", "-o", out, "--avatar", tiny_avatar.folder, *options)
        assert status == 0
        pictures.append(np.asarray(Image.open(out / "frame_000008.png")).astype(int))
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert pictures[2][0, 0].tolist() == [255, 0, 0]


def test_frames_are_refined_by_what_the_avatar_holds(
    capsys: pytest.CaptureFixture[str], tiny_avatar: Avatar, tmp_path: Path
) -> None:
    write_sound(tmp_path / "in.wav", 0.4, 1)
    plain = [tmp_path / "in.wav", "--avatar", tiny_avatar.folder, "--size", "192x144"]
    status, _, err = render(capsys, *plain, "-o", tmp_path / "none", "--refine", "1")
    assert status == 2 and "has no refiner" in err and not (tmp_path / "none").exists()
    give_refiner(tiny_avatar, tmp_path, trained())
    pictures = []
    for name, options in (("raw", []), ("refined", ["--refine", "0.8"])):
        assert render(capsys, *plain, "-o", tmp_path / name, *options)[0] == 0
        pictures.append(np.asarray(Image.open(tmp_path / name / "frame_000004.png")).astype(int))
    assert np.abs(pictures[1] - pictures[0]).max() > 20


@pytest.mark.skipif(not SPEECH.is_file(), reason="the recorded speech lies beside the checkout only")
def test_real_speech_is_rendered_frame_by_frame(
    capsys: pytest.CaptureFixture[str], tiny_avatar: Avatar, tmp_path: Path
) -> None:
    status, _, _ = render(capsys, SPEECH, "-o", tmp_path / "talk.mp4", "--avatar", tiny_avatar.folder)
    assert status == 0
    times, _, heard = decoded(tmp_path / "talk.mp4")
    with wave.open(str(SPEECH)) as file:
        rate = file.getframerate()
        original = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
    assert abs(len(times) - 25 * len(original) / rate) <= 1 and times[0] == 0
    seconds = np.arange(len(heard)) / 48_000
    resampled = np.interp(seconds, np.arange(len(original)) / rate, original[:, 0])[:, None]
    assert abs(lag_s(heard, resampled)) < 0.005


def test_existing_files_are_replaced_only_by_force(
    capsys: pytest.CaptureFixture[str], tiny_avatar: Avatar, tmp_path: Path
) -> None:
    write_sound(tmp_path / "in.wav", 0.2)
    (tmp_path / "talk.mp4").write_bytes(b"precious")
    arguments = [tmp_path / "in.wav", "-o", tmp_path / "talk.mp4", "--avatar", tiny_avatar.folder]
    status, _, err = render(capsys, *arguments)
    assert status == 2 and "--force" in err
    assert (tmp_path / "talk.mp4").read_bytes() == b"precious"
    assert render(capsys, *arguments, "--force")[0] == 0
    assert len(decoded(tmp_path / "talk.mp4")[0]) == 5


def ten_hours(path: Path) -> None:
    """A WAV file of ten hours that occupies no disk space."""
    size = 10 * 3600 * 16_000 * 2
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16,
                         b"data", size)  # fmt: skip
    with path.open("wb") as file:
        file.write(header)
        file.truncate(44 + size)


BAD_SOUNDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "not audio": (lambda path: path.write_bytes(b"I am a text, not a sound. " * 100), "not readable as sound or film"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "a picture": (lambda path: Image.new("RGB", (8, 8)).save(path, "PNG"), "it is a PNG picture"),
    "no samples": (lambda path: write_sound(path, 0.0), "no samples"),
    "ten hours": (ten_hours, "lasts 10:00:00, the limit is 1:00:00"),
    "missing": (lambda path: None, "does not exist"),
    "a folder": (lambda path: path.mkdir(), "not a file"),
}


@pytest.mark.parametrize("case", list(BAD_SOUNDS))
def test_bad_sound_is_one_line_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], tiny_avatar: Avatar, tmp_path: Path, case: str
) -> None:
    make, words = BAD_SOUNDS[case]
    make(tmp_path / "in.wav")
    before = sorted(p.name for p in tmp_path.iterdir())
    status, out, err = render(capsys, tmp_path / "in.wav", "-o", tmp_path / "talk.mp4", "--avatar", tiny_avatar.folder)
    assert (status, out) == (2, "")
    assert words in err and "\n" not in err
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_what_was_repaired_and_chosen_is_told(
    capsys: pytest.CaptureFixture[str], tiny_avatar: Avatar, tmp_path: Path
) -> None:
    said = upsampled(speech(0.8), 48_000)[:, None]
    film = write_media(tmp_path / "in.mkv", [Track(0 * said), Track(said)])
    out = tmp_path / "talk.mp4"
    status, _, err = render(capsys, film, "-o", out, "--avatar", tiny_avatar.folder)
    assert status == 0 and "note: Track 2 (AAC, mono" in err and "track 1 is silent" in err
    assert np.abs(decoded(out)[2]).max() > 0.2
    status, _, err = render(capsys, film, "-o", out, "--avatar", tiny_avatar.folder, "--force", "--audio-track", "1")
    assert status == 0 and np.abs(decoded(out)[2]).max() < 1e-3
    status, _, err = render(capsys, film, "-o", out, "--avatar", tiny_avatar.folder, "--force", "--audio-track", "3")
    assert status == 2 and "there is no track 3" in err and "\n" not in err


def change(folder: Path, name: str, data: bytes, *, rehash: bool = True) -> None:
    """Replace a file of an avatar; with its hash put right, so that only the content is wrong."""
    (folder / name).write_bytes(data)
    if rehash:
        manifest = json.loads((folder / "avatar.json").read_text())
        manifest["files"][name] = hashlib.sha256(data).hexdigest()
        (folder / "avatar.json").write_text(json.dumps(manifest))


def edit(folder: Path, field: str, value: object) -> None:
    manifest = json.loads((folder / "avatar.json").read_text())
    manifest[field] = value
    (folder / "avatar.json").write_text(json.dumps(manifest))


def nan_in_ply(folder: Path) -> None:
    data = bytearray((folder / "gaussians.ply").read_bytes())
    start = data.index(b"end_header\n") + len(b"end_header\n")
    data[start : start + 4] = struct.pack("<f", float("nan"))
    change(folder, "gaussians.ply", bytes(data))


def nan_in_network(folder: Path) -> None:
    from safetensors.numpy import load, save

    tensors = load((folder / "network.safetensors").read_bytes())
    name = next(name for name, tensor in tensors.items() if tensor.dtype == np.float32 and tensor.size > 8)
    tensors[name] = tensors[name].copy()
    tensors[name].flat[3] = np.nan
    change(folder, "network.safetensors", save(tensors))


BAD_AVATARS: dict[str, tuple[Callable[[Path], object], str]] = {
    "NaN in the Gaussians": (nan_in_ply, "gaussians.ply"),
    "NaN in the network": (nan_in_network, "network.safetensors"),
    "truncated PLY": (
        lambda folder: change(folder, "gaussians.ply", (folder / "gaussians.ply").read_bytes()[:-1000]),
        "gaussians.ply",
    ),
    "changed file": (lambda folder: change(folder, "motion.npz", b"PK\3\4", rehash=False), "motion.npz"),
    "missing file": (lambda folder: (folder / "background.png").unlink(), "background.png"),
    "wrong count": (lambda folder: edit(folder, "gaussians", 299), "299"),
    "wrong width of the features": (
        lambda folder: edit(folder, "features", {"name": "logmel", "params": {"bands": -1}}),
        "'logmel' does not take the parameters {'bands': -1}",
    ),
    "a pickle": (lambda folder: change(folder, "network.safetensors", pickle.dumps({"a": 1})), "network.safetensors"),
    "not JSON": (lambda folder: (folder / "avatar.json").write_text("{"), "avatar.json"),
    "newer version": (lambda folder: edit(folder, "schema_version", 99), "99"),
}


@pytest.mark.parametrize("case", list(BAD_AVATARS))
def test_a_bad_avatar_is_one_line_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], tiny_avatar: Avatar, tmp_path: Path, case: str
) -> None:
    damage, words = BAD_AVATARS[case]
    assert tiny_avatar.folder is not None
    damage(tiny_avatar.folder)
    write_sound(tmp_path / "in.wav", 0.2)
    status, out, err = render(capsys, tmp_path / "in.wav", "-o", tmp_path / "talk.mp4", "--avatar", tiny_avatar.folder)
    assert (status, out) == (2, ""), err
    assert words in err and "\n" not in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["avatars", "in.wav"]


def test_bad_outputs_are_refused_before_the_sound_is_read(
    capsys: pytest.CaptureFixture[str], tiny_avatar: Avatar, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    for out, options, words in (
        ("nowhere/talk.mp4", [], "folder does not exist"),
        ("file/talk.mp4", [], "folder does not exist"),
        ("talk.avi", [], ".avi"),
        ("talk.mp4", ["--background", "none"], "transparent"),
        ("talk.mp4", ["--size", "63x48"], "Choose even sides from 16 to 4096, or write PNG frames"),
        ("talk.mp4", ["--size", "5x5"], "Choose even sides from 16 to 4096"),
        ("frames", ["--size", "6x64"], "Choose even sides from 16 to 4096"),
        ("talk.mp4", ["--size", "64x99999"], "Choose even sides from 16 to 4096"),
        ("talk.mp4", ["--background", "room.png"], "room.png"),
        ("talk.mp4", ["--device", "tpu"], "device 'tpu' is none of auto, cpu, cuda, cuda:N"),
    ):
        sound = tmp_path / "never.wav"
        status, _, err = render(capsys, sound, "-o", tmp_path / out, "--avatar", tiny_avatar.folder, *options)
        assert status == 2 and words in err and "\n" not in err, err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["avatars", "file"]


def test_a_killed_render_cleans_up(tiny_avatar: Avatar, tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "in.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(90 * 32_000))  # drawing it takes longer than being told to stop
    arguments = [tmp_path / "in.wav", "-o", tmp_path / "talk.mp4", "--avatar", tiny_avatar.folder]
    command = [sys.executable, "-m", "being", "render", *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if '"render"' in line:  # drawing has begun
                assert len(list(tmp_path.glob(".talk.mp4*"))) == 1
                process.send_signal(signal.SIGTERM)
                break
        process.stderr.read()
        assert process.wait(timeout=300) == 128 + signal.SIGTERM
    assert sorted(p.name for p in tmp_path.iterdir()) == ["avatars", "in.wav"]
