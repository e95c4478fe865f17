"""The whole way from a video to a dataset, on a drawn figure: what appears, what goes on, and what is refused.

Where the face is comes from the drawing, not from mediapipe: its models know people only, and it is what the other
steps do with a face that is asked here.
"""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

cv2 = pytest.importorskip("cv2", reason="opencv comes with being[clone]")
pytest.importorskip("mediapipe", reason="the mesh's triangles come with being[clone]")

from being.capture import pipeline
from being.capture.landmarks.tracking import Track
from being.capture.pipeline import capture
from being.capture.workspace import Workspace, require_room
from being.dataset import validate
from being.dataset.parsing import HEAD, NECK, TORSO
from being.dataset.pose import FLIP
from being.errors import InputError
from being.progress import Silent

SIDE, FRAMES, SIZE = 160, 80, 96
FOCAL, AWAY = 260.0, 9.0
BLACK_AT = 38


def shape() -> NDArray[np.float64]:
    """A made-up face (478, 3) in dm: points on an ellipsoid, the named ones where a face has them."""
    random = np.random.default_rng(3)
    across, up = random.uniform(-0.7, 0.7, 478), random.uniform(-0.85, 0.85, 478)
    points = np.stack([across, up, 0.9 * np.sqrt(np.clip(1 - (across / 0.95) ** 2 - (up / 1.2) ** 2, 0.02, 1))], 1)
    for left, right, x, y in ((33, 263, 0.445, 0.27), (133, 362, 0.17, 0.25), (127, 356, 0.7, 0.2), (234, 454, 0.7, 0)):
        points[left], points[right] = (-x, y, 0.5 - x * x), (x, y, 0.5 - x * x)
    points[10], points[152], points[1], points[4] = (0, 0.9, 0.5), (0, -0.95, 0.5), (0, -0.2, 1.0), (0, -0.1, 1.0)
    return points


def meshes() -> NDArray[np.float32]:
    """The face over the clip (T, 478, 3), pixels of the video."""
    t = np.arange(FRAMES) / 25
    turns = Rotation.from_rotvec(np.radians(np.stack([5 * np.sin(2 * t), 9 * np.sin(1.3 * t), 2 * np.sin(t)], 1)))
    at = np.einsum("tij,kj->tki", FLIP @ turns.as_matrix(), shape()) + np.array((0, -0.4, AWAY))
    out = FOCAL * at / at[..., 2:]
    out[..., :2] += SIDE / 2
    out[..., 2] = FOCAL * (at[..., 2] - AWAY) / AWAY
    return out.astype(np.float32)


def film(path: Path, pan: float = 0.0, black: int = 0) -> Path:
    """Tiles behind, a blue torso, a green neck, a red head; the camera pans by `pan` pixels a frame.

    black : so many black pictures stand before number BLACK_AT.
    """
    tiles = np.random.default_rng(1).integers(90, 120, (30, 90, 3), np.uint8)
    tiles[..., 0] += np.random.default_rng(2).integers(0, 2, (30, 90), np.uint8) * 40
    wall = np.kron(tiles, np.ones((8, 8, 1), np.uint8))
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "12", "preset": "ultrafast"})
        video.width = video.height = SIDE
        video.pix_fmt = "yuv444p"
        tone = container.add_stream("aac", rate=16_000, layout="mono")
        for index, mesh in enumerate(meshes()):
            shift = int(index * pan)
            image = np.ascontiguousarray(wall[:SIDE, shift : shift + SIDE])
            middle = tuple(int(v) for v in (mesh[10, :2] + mesh[152, :2]) / 2)
            cv2.rectangle(image, (20, 118), (140, SIDE), (0, 0, 255), -1)
            cv2.rectangle(image, (70, 90), (90, 124), (0, 255, 0), -1)
            cv2.ellipse(image, middle, (24, 32), 0, 0, 360, (255, 0, 0), -1)
            for shown in (*[np.zeros_like(image)] * (black if index == BLACK_AT else 0), image):
                container.mux(video.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        container.mux(video.encode(None))
        wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange((FRAMES + black) * 640) / 16_000)
        chunk = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), format="fltp", layout="mono")
        chunk.sample_rate = 16_000
        container.mux(tone.encode(chunk))
        container.mux(tone.encode(None))
    return path


class Colours:
    """Tells the parts of the drawing by their colour."""

    def learn(self, images: Any, faces: Any) -> list[NDArray[np.uint8]]:
        return [self.shares(i, f, 0).argmax(-1).astype(np.uint8) for i, f in zip(images, faces, strict=True)]

    def shares(self, image: NDArray[np.uint8], face: Any, index: int) -> NDArray[np.float32]:
        small = cv2.resize(image, face.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.int32)
        strong = [small[..., k] - small[..., (k + 1) % 3] - small[..., (k + 2) % 3] > 0 for k in range(3)]
        out = np.zeros((*face.shape, 4), np.float32)
        for part, mask in zip((HEAD, NECK, TORSO), strong, strict=True):
            out[mask, part] = 1
        out[..., 0] = 1 - out.sum(-1)
        return out

    def close(self) -> None:
        pass


@pytest.fixture
def tracked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The face as drawn; the list grows by one at every tracking."""
    calls: list[int] = []

    def track(frames: Any, progress: Any = None) -> Track:
        calls.append(1)
        count = sum(1 for _ in frames)
        points = np.insert(meshes(), [BLACK_AT] * (count - FRAMES), meshes()[BLACK_AT], axis=0)
        found = np.ones(count, bool)
        found[BLACK_AT : BLACK_AT + count - FRAMES] = False
        return Track(points, found, found.astype(np.int64))

    monkeypatch.setattr(pipeline, "track_landmarks", track)
    monkeypatch.setattr(pipeline, "open_parser", lambda name: Colours())
    return calls


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("video") / "figure.mp4")


class StopAt(Silent):
    """Ctrl-C in the middle of a step."""

    def __init__(self, name: str) -> None:
        self.name, self.now = name, ""

    def part(self, name: str) -> None:
        self.now = name

    def update(self, fraction: float, **numbers: float) -> None:
        if self.now == self.name and 0.7 < fraction < 1:
            raise KeyboardInterrupt


def stop(place: Workspace) -> None:
    """Ctrl-C when everything is made, and before it is put in its place."""
    raise KeyboardInterrupt


def test_a_stopped_capture_goes_on_to_a_whole_dataset(
    tmp_path: Path, video: Path, tracked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "person"
    with pytest.raises(KeyboardInterrupt):
        capture(video, out, size=SIZE, progress=StopAt("parsing"), workers=2)
    assert not out.exists() and (tmp_path / "person.part").is_dir()
    with pytest.raises(KeyboardInterrupt):
        capture(video, out, size=SIZE, progress=StopAt("layers"), workers=2)
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(Workspace, "publish", stop)
        capture(video, out, size=SIZE, workers=2)
    report = capture(video, out, size=SIZE, workers=2)
    assert len(tracked) == 1  # what was done is not done again
    assert sorted(p.name for p in tmp_path.iterdir()) == ["person"]
    data = validate(out)
    assert data.frames == report.frames == FRAMES and data.torso_tracked
    assert len(data.audio) == FRAMES * 640
    assert data.vertices is not None and len(data.vertices) > 10_000
    image, labels = data.image(5).astype(int), data.parsing(5)
    for part, channel in ((HEAD, 0), (TORSO, 2)):
        truth = image[..., channel] * 2 - image.sum(-1) > 0
        assert ((labels == part) & truth).sum() / ((labels == part) | truth).sum() > 0.9
    assert report.rms_px < 0.5
    assert json.loads((out / "capture.json").read_text())["frames"] == FRAMES
    page = (out / "report.html").read_text()
    assert page.count("<figure>") >= 8 and 'src="http' not in page and "href" not in page
    assert any("footage" in w.problem for w in report.warnings) and all(w.remedy for w in report.warnings)


def test_a_black_part_is_left_out_and_the_rest_keeps_its_sound(tmp_path: Path, video: Path, tracked: list[int]) -> None:
    plain, spoiled = tmp_path / "plain", tmp_path / "spoiled"
    capture(video, plain, size=SIZE, workers=2)
    report = capture(film(tmp_path / "black.mp4", black=20), spoiled, size=SIZE, workers=2)
    assert [cut.reason for cut in report.cuts] == ["black picture"]
    (cut,) = report.cuts
    assert BLACK_AT - 3 <= cut.start <= BLACK_AT and BLACK_AT + 20 <= cut.stop <= BLACK_AT + 23
    data = validate(spoiled)
    kept = [i for i in range(FRAMES + 20) if not cut.start <= i < cut.stop]
    assert data.frames == len(kept) and data.sound_frames.tolist() == kept
    assert len(data.audio) == (FRAMES + 20) * 640  # the sound is whole: windows beside the cut hear what was said
    assert np.abs(data.background.astype(int) - validate(plain).background).mean() < 3
    written = json.loads((spoiled / "capture.json").read_text())
    assert written["cuts"] == [{"from_s": cut.start / 25, "to_s": cut.stop / 25, "reason": "black picture"}]
    assert "Cut list" in (spoiled / "report.html").read_text()
    assert "Cut list" not in (plain / "report.html").read_text()


def test_a_part_of_a_video_is_captured(tmp_path: Path, video: Path, tracked: list[int]) -> None:
    with pytest.raises(InputError, match=r"lasts 2\.0 s"):
        capture(video, tmp_path / "person", size=SIZE, start_s=1.0, end_s=3.0)
    with pytest.raises(InputError, match="--start"):
        capture(video, tmp_path / "person", size=SIZE, start_s=7.0)


def test_a_moving_camera_gives_mattes_and_a_plate(tmp_path: Path, tracked: list[int]) -> None:
    panned = film(tmp_path / "panned.mp4", pan=0.4)
    report = capture(panned, tmp_path / "person", size=SIZE, workers=2)
    assert report.background.startswith("laid together") and report.camera_shift_px > 2
    assert any("camera moves" in w.problem and "--background" in w.remedy for w in report.warnings)
    data = validate(tmp_path / "person")
    assert data.has_mattes and data.camera_moves
    for index in (0, 40, 79):
        alpha, labels = data.alpha(index).astype(int), data.parsing(index)
        assert ((alpha > 127) == (labels > 0)).mean() > 0.98
        outside = alpha == 0
        assert np.abs(data.composited(index).astype(int) - data.background)[outside].mean() < 2
        sure = alpha == 255
        assert np.abs(data.composited(index).astype(int) - data.image(index))[sure].mean() < 4
    assert "cut out" in (tmp_path / "person" / "report.html").read_text()


def test_a_background_of_ones_own_stands_behind_the_person(tmp_path: Path, video: Path, tracked: list[int]) -> None:
    report = capture(video, tmp_path / "person", size=SIZE, background="#00b140", workers=2)
    assert report.background == "given: #00b140" and report.camera_shift_px < 1
    data = validate(tmp_path / "person")
    assert data.has_mattes
    assert np.abs(data.background.astype(int) - (0, 0xB1, 0x40)).max() < 4
    with pytest.raises(InputError, match="neither"):
        capture(video, tmp_path / "other", size=SIZE, background="nowhere.png")
    assert not (tmp_path / "other.part").exists()


def test_a_full_disk_is_one_line_and_the_work_is_kept(tmp_path: Path, video: Path, tracked: list[int]) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))  # no file may grow beyond it
    try:
        with pytest.raises(InputError, match="disk is full") as caught:
            capture(video, tmp_path / "person", size=SIZE, workers=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value) and not (tmp_path / "person").exists()
    with pytest.raises(InputError, match="needs about"):
        require_room(tmp_path / "person", 1 << 60)


def test_places_and_numbers_that_cannot_be(tmp_path: Path, video: Path, tracked: list[int]) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("keep me")
    with pytest.raises(InputError, match="exists already"):
        capture(video, taken, size=SIZE)
    with pytest.raises(InputError, match="cannot be written"):
        capture(video, taken / "mine.txt" / "person", size=SIZE)
    for size in (63, 99, 2000, (512, 99)):
        with pytest.raises(InputError, match="size is 512x99" if isinstance(size, tuple) else f"size is {size}"):
            capture(video, tmp_path / "person", size=size)
    with pytest.raises(InputError, match="focal"):
        capture(video, tmp_path / "person", size=SIZE, focal=2.0)
    with pytest.raises(InputError, match="is a folder"):
        capture(taken, tmp_path / "person", size=SIZE)
    assert (taken / "mine.txt").read_text() == "keep me" and not tracked
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]
