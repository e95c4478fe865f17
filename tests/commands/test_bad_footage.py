"""Footage that cannot be used, given to `being capture` and `being clone`: one line with its remedy, nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray

pytest.importorskip("cv2", reason="opencv comes with being[clone]")
pytest.importorskip("mediapipe", reason="finding faces needs being[clone]")

from being.commands import capture, clone
from being.errors import InputError
from being.synthetic import render_frame
from being.synthetic.rig import FaceState

SIDE, FRAMES, RATE = 256, 76, 16_000
Picture = NDArray[np.uint8]


def film(path: Path, pictures: Sequence[Picture], sound: bool = True) -> Path:
    """Pictures at 25 a second, and a tone."""
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "16", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        tone = container.add_stream("aac", rate=RATE, layout="mono") if sound else None
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(video.encode(None))
        if tone is not None:
            wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(len(pictures) * 640) / RATE)
            chunk = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), format="fltp", layout="mono")
            chunk.sample_rate = RATE
            container.mux(tone.encode(chunk))
            container.mux(tone.encode(None))
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a film of each kind."""
    folder = tmp_path_factory.mktemp("films")
    person = render_frame(FaceState(), SIDE, SIDE).image
    wall = np.random.default_rng(0).integers(90, 130, (SIDE, SIDE, 3), np.uint8)
    film(folder / "good.mp4", [person] * FRAMES)
    film(folder / "nobody.mp4", [wall] * FRAMES)
    narrow = person[:, SIDE // 8 : -SIDE // 8]
    film(folder / "two.mp4", [np.concatenate([narrow, narrow], axis=1)] * FRAMES)
    film(folder / "seldom.mp4", [person] * (FRAMES // 3) + [wall] * (FRAMES - FRAMES // 3))
    film(folder / "mute.mp4", [person] * FRAMES, sound=False)
    film(folder / "second.mp4", [person] * 25)
    whole = (folder / "good.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "text.mp4").write_text("This is no film.\n")
    return folder


def run(name: str, *arguments: str | Path) -> Result:
    command = {"capture": capture.command, "clone": clone.command}[name]
    more = ["--consent", "synthetic", "--device", "cpu"] if name == "clone" else []
    return CliRunner().invoke(command, [*map(str, arguments), *more])


REFUSED = {
    "nobody": "No face in any",
    "two": "Two faces or more",
    "seldom": "s of 3.0 s show one face, 3 s are needed (blank picture 2.",
    "mute": "has no sound",
    "second": "lasts 1.0 s, at least 3 s",
    "cut": "is cut off",
    "text": "it is text",
}


@pytest.mark.parametrize("name", ["capture", "clone"])
@pytest.mark.parametrize("kind", REFUSED)
def test_one_line_and_nothing_is_left(films: Path, tmp_path: Path, name: str, kind: str) -> None:
    result = run(name, films / f"{kind}.mp4", "-o", tmp_path / "person", "--size", "128")
    error = result.exception
    assert isinstance(error, InputError) and REFUSED[kind] in error.problem
    assert error.remedy and "\n" not in str(error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["capture", "clone"])
def test_a_folder_that_cannot_be_written(films: Path, name: str) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("needs a folder that even root cannot write")
    result = run(name, films / "good.mp4", "-o", "/proc/being/person", "--size", "128")
    assert isinstance(result.exception, InputError) and "cannot be written" in result.exception.problem
    assert result.exception.remedy and "\n" not in str(result.exception)


@pytest.mark.parametrize("name", ["capture", "clone"])
def test_ctrl_c_keeps_the_work_and_says_so(films: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "person"
    line = [sys.executable, "-c", "from being.cli import main; main()", name, str(films / "good.mp4"), "-o", str(out)]
    more = ["--consent", "synthetic", "--device", "cpu"] if name == "clone" else []
    part = (tmp_path / "person.run" / "footage.part") if name == "clone" else tmp_path / "person.part"
    process = subprocess.Popen(
        [*line, "--size", "128", *more],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"BEING_KEY": str(tmp_path / "key.pem")},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # as from a terminal
    )
    deadline = time.monotonic() + 240
    while not (part / ".capture" / "track.npz").exists():  # the first step is done
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "is unfinished; the same command goes on" in said and "Traceback" not in said
    assert part.is_dir() and not out.exists()
