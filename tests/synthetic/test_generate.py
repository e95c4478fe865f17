"""A generated folder: complete, readable as a dataset, resumable, and as true as it says."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from being.dataset import Dataset
from being.dataset.pose import project
from being.errors import InputError
from being.media.reading.sound_reader import read_sound
from being.synthetic import generate, listen, perform, render
from being.synthetic.generate import write_video
from being.synthetic.kernels import drop_stale_kernels
from being.synthetic.voice import FORMANT

WIDTH, HEIGHT = 64, 48


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clip = perform("Hello, my boy.", FORMANT, seed=1, lead_s=0.2, tail_s=0.2)
    return generate(tmp_path_factory.mktemp("synthetic") / "person", performance=clip, size=(WIDTH, HEIGHT), workers=2)


def test_the_folder_is_a_dataset_with_its_truth(folder: Path) -> None:
    data, clip = Dataset(folder), perform("Hello, my boy.", FORMANT, seed=1, lead_s=0.2, tail_s=0.2)
    assert data.frames == clip.frames
    with np.load(folder / "truth.npz") as truth:
        for i in (0, clip.frames // 2):
            np.testing.assert_allclose(data.head_pose(i), clip.head[i], atol=1e-5)
            np.testing.assert_allclose(data.torso_pose(i), clip.torso[i], atol=1e-5)
            np.testing.assert_allclose(data.landmarks(i), truth["landmarks"][i], atol=2e-3)
            frame = render(clip, i, WIDTH, HEIGHT)
            assert np.abs(data.image(i).astype(int) - frame.image).mean() < 3
            np.testing.assert_array_equal(data.parsing(i), frame.parsing)
        assert truth["mouth_open"].shape == truth["lips_closed"].shape == (clip.frames,)
        assert truth["lips_closed"][0]
        np.testing.assert_allclose(truth["viseme_weights"].sum(1), 1, atol=1e-4)
    assert len(data.audio) == clip.frames * 640


def test_landmarks_agree_with_the_published_camera(folder: Path) -> None:
    # The nose bridge moves rigidly: its canonical points, found from one frame, land on the truth of every other.
    data = Dataset(folder)
    with np.load(folder / "truth.npz") as truth:
        pixels, poses = truth["landmarks"][:, 27:31].astype(float), truth["head_pose"].astype(float)
        fx, fy, cx, cy = truth["intrinsics"]
    np.testing.assert_allclose(data.intrinsics, (fx, fy, cx, cy), rtol=1e-6)
    first = poses[0]
    rays = np.concatenate([(pixels[0] - (cx, cy)) / (fx, fy), np.ones((4, 1))], axis=1)
    # depth along each ray from all other frames, by search
    depths = np.linspace(5.3, 6.3, 501)
    best = []
    for ray in rays:
        points = (depths[:, None] * ray - first[:, 3]) @ first[:, :3]
        errors = sum(
            np.linalg.norm(project(points, poses[t], (fx, fy, cx, cy)) - pixels[t, len(best)], axis=1)
            for t in range(len(poses))
        )
        best.append(errors.min() / len(poses))
    assert max(best) < 0.1


def test_a_finished_folder_is_not_overwritten(folder: Path) -> None:
    with pytest.raises(InputError, match="already holds"):
        generate(folder, performance=listen(0.2), size=(WIDTH, HEIGHT))


def test_an_interrupted_run_continues(tmp_path: Path) -> None:
    clip, out = listen(0.4), tmp_path / "person"

    class Interrupted(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done >= 4:
            raise Interrupted

    with pytest.raises(Interrupted):
        generate(out, performance=clip, size=(32, 32), workers=1, progress=stop)
    before = {p.name: p.stat().st_mtime_ns for p in (out / "ori_imgs").glob("*.lms")}
    assert 4 <= len(before) < 10 or len(before) == 10
    with pytest.raises(InputError, match="another clip"):
        generate(out, performance=listen(0.4, seed=9), size=(32, 32))
    seen: list[tuple[int, int]] = []
    generate(out, performance=clip, size=(32, 32), workers=1, progress=lambda *step: seen.append(step))
    assert seen[0] == (len(before), 10)
    assert Dataset(out).frames == 10
    for name, stamp in before.items():
        assert (out / "ori_imgs" / name).stat().st_mtime_ns == stamp


def test_an_interrupted_run_is_continued_without_its_performance(tmp_path: Path) -> None:
    out = tmp_path / "person"

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(out, seconds=1.2, seed=4, size=(32, 32), progress=stop)
    first = (out / "performance.npz").read_bytes()
    with pytest.raises(InputError, match="another clip"):
        generate(out, seconds=1.2, seed=5, size=(32, 32))
    generate(out, seconds=1.2, seed=4, size=(32, 32))
    assert (out / "performance.npz").read_bytes() == first
    assert Dataset(out).frames == 30


@pytest.mark.parametrize("size", [(8, 512), (512, 100_000)])
def test_a_senseless_size_is_refused_before_anything_is_written(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="size"):
        generate(tmp_path / "person", performance=listen(0.2), size=size)
    assert not (tmp_path / "person").exists()


def test_the_video_has_the_pictures_and_the_sound(tmp_path: Path) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    generate(tmp_path / "person", performance=listen(0.6), size=(32, 32), video=tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 15
    with av.open(str(tmp_path / "clip.mp4")) as container:
        samples = sum(f.samples for f in container.decode(audio=0))
    assert samples == pytest.approx(0.6 * 48_000, abs=2048)


def test_kernels_older_than_a_source_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").mkdir()
    source, old, new = tmp_path / "a.py", tmp_path / "__pycache__" / "a.nbi", tmp_path / "__pycache__" / "b.nbi"
    for path, stamp in ((source, 100), (old, 50), (new, 150)):
        path.write_text("")
        os.utime(path, (stamp, stamp))
    assert drop_stale_kernels(tmp_path) == 1
    assert not old.exists()
    assert new.exists()


def test_films_sound_stands_where_it_was_made(tmp_path: Path) -> None:
    """A codec's lead-in is declared: its sound is not heard later than its pictures."""
    frames, random = 25, np.random.default_rng(0)
    (tmp_path / "ori_imgs").mkdir()
    for number in range(frames):
        Image.new("RGB", (32, 32), (10 * number, 90, 90)).save(tmp_path / "ori_imgs" / f"{number}.png")
    pcm = np.convolve(random.normal(size=frames * 640), np.hanning(9), "same").astype(np.float32) * 0.05
    write_video(tmp_path, tmp_path / "film.mp4", SimpleNamespace(frames=frames, pcm=pcm))  # type: ignore[arg-type]
    heard = read_sound(tmp_path / "film.mp4").model_pcm
    lags = range(-500, 501)
    alike = [float(np.dot(pcm[1000:-1000], heard[1000 + lag : len(pcm) - 1000 + lag])) for lag in lags]
    assert abs(lags[int(np.argmax(alike))]) <= 1
