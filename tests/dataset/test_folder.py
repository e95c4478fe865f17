"""The folder written and read back, then broken in every way a stranger's folder can be."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.dataset_folders import FRAMES, HEIGHT, WIDTH, pose_curve, unit_rows, write_person

from being.dataset import Dataset, DatasetWriter, validate
from being.dataset.parsing import BACKGROUND, HEAD, NECK, TORSO, labels_of_colours
from being.dataset.pose import tracking_of_pose
from being.errors import BeingError, FormatError, InputError


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_person(tmp_path_factory.mktemp("dataset") / "person")


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "person"))


def test_what_was_written_is_read(pristine: Path) -> None:
    dataset = validate(pristine)
    assert (dataset.frames, dataset.width, dataset.height) == (FRAMES, WIDTH, HEIGHT)
    np.testing.assert_allclose(dataset.head_poses, pose_curve(FRAMES), atol=1e-5)
    np.testing.assert_allclose(dataset.torso_pose(0), pose_curve(FRAMES)[-1], atol=1e-5)
    np.testing.assert_allclose(dataset.eyes, np.linspace(0, 1, FRAMES), atol=1e-3)
    np.testing.assert_allclose(dataset.intrinsics, [60, 60, 20, 16])
    assert (dataset.image(7) == 70).all() and (dataset.composited(7) == 70).all()
    assert np.bincount(dataset.parsing(3).ravel()).tolist() == [HEIGHT * WIDTH - 240 - 48 - 384, 240, 48, 384]
    assert dataset.landmarks(2).shape == (68, 2)
    assert dataset.split.train == tuple(range(11)) and dataset.split.val == (11,)
    assert dataset.audio.dtype == np.float32 and np.abs(dataset.audio).max() == pytest.approx(0.5, abs=1e-3)
    assert dataset.vertices is not None and dataset.vertices.shape == (9, 3)
    assert dataset.expression_names == ("smile",)  # the brows have a column and never move; of a frown nothing is known
    np.testing.assert_allclose(dataset.expressions[:, 0], np.minimum(np.linspace(0, 1.02, FRAMES), 1), atol=0.01)


def test_expressions_of_openface_and_of_nobody(folder: Path) -> None:
    """Intensities become shares of the strongest; a published folder may have none; a word is no intensity."""
    rows = [f"{i + 1}, 0.0, 1.0, 1, {2.5 * (i > 5)}, {3 * (i % 2)}, {5 * (i % 2)}, 0.0" for i in range(FRAMES)]
    header = "frame, timestamp, confidence, success, AU04_r, AU01_r, AU02_r, AU45_r"
    (folder / "au.csv").write_text("\n".join([header, *rows]))
    dataset = Dataset(folder)
    assert dataset.expression_names == ("brows_up", "frown") and dataset.expressions.shape == (FRAMES, 2)
    np.testing.assert_allclose(dataset.expressions[:, 0], np.arange(FRAMES) % 2, atol=1e-6)
    np.testing.assert_allclose(dataset.expressions[:, 1], np.arange(FRAMES) > 5, atol=1e-6)
    (folder / "au.csv").write_text("\n".join(["frame, AU45_r", *(f"{i}, 0.5" for i in range(FRAMES))]))
    assert Dataset(folder).expression_names == () and Dataset(folder).expressions.shape == (FRAMES, 0)
    (folder / "au.csv").write_text("\n".join(["frame, AU04_r, AU45_r", *(f"{i}, much, 0.5" for i in range(FRAMES))]))
    with pytest.raises(FormatError, match="column 'AU04_r' is not all numbers"):
        Dataset(folder)


def test_pictures_lose_nothing(folder: Path) -> None:
    """Noise comes back to the last bit, whatever is laid over the plate later; what was filmed stays as it was."""
    random = np.random.default_rng(3)
    filmed, composited = (random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(2))
    writer = DatasetWriter(folder, WIDTH, HEIGHT, 60.0)
    writer.picture(4, filmed)
    assert np.array_equal(Dataset(folder).composited(4), filmed)
    writer.layers(4, composited=composited)
    dataset = Dataset(folder)
    assert np.array_equal(dataset.image(4), filmed) and np.array_equal(dataset.composited(4), composited)


def test_folders_with_jpeg_pictures_are_read(folder: Path) -> None:
    """The published layout, and what Being wrote before its pictures were lossless."""
    before = Dataset(folder)
    pictures, plate = [before.composited(index) for index in range(FRAMES)], before.background
    for path in [folder / "bc.png", *(folder / "ori_imgs").glob("*.png"), *(folder / "gt_imgs").glob("*.png")]:
        Image.open(path).save(path.with_suffix(".jpg"), quality=95, subsampling=0)
    both = Dataset(folder)
    assert np.array_equal(both.composited(7), pictures[7])  # of two forms the lossless one is read
    for path in [folder / "bc.png", *(folder / "ori_imgs").glob("*.png"), *(folder / "gt_imgs").glob("*.png")]:
        path.unlink()
    dataset = validate(folder)
    for index in range(FRAMES):
        assert np.abs(dataset.composited(index).astype(int) - pictures[index]).max() <= 2
    assert np.abs(dataset.background.astype(int) - plate).max() <= 2
    (folder / "gt_imgs" / "6.jpg").unlink()
    assert Dataset(folder).notes == ("1 of 12 frames are left out: 1 without picture over the plate (6)",)


def test_published_folder_without_torso_poses_gets_the_rest_pose(folder: Path) -> None:
    (folder / "torso_params.npz").unlink()
    shutil.rmtree(folder / "gt_imgs")
    dataset = validate(folder)
    assert not dataset.torso_tracked
    np.testing.assert_allclose(dataset.torso_pose(5)[:, :3], np.diag([1, -1, -1]))
    np.testing.assert_allclose(dataset.torso_pose(5)[:, 3], dataset.head_poses[:, :, 3].mean(0), rtol=1e-5)
    assert np.array_equal(dataset.composited(4), dataset.image(4))


def test_published_colours_become_labels() -> None:
    colours = np.array(
        [[[255, 255, 255], [0, 0, 255], [0, 255, 0], [255, 0, 0], [0, 0, 0], [100, 100, 100], [9, 8, 250]]]
    )
    labels = labels_of_colours(colours.astype(np.uint8))[0]
    assert labels.tolist() == [BACKGROUND, HEAD, NECK, TORSO, HEAD, HEAD, HEAD]


def test_split_files_decide_who_is_held_out(tmp_path: Path) -> None:
    root = tmp_path / "split"
    writer = DatasetWriter(root, 8, 8, focal=10.0).prepare()
    for i in range(6):
        writer.frame(i, np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.uint8), np.ones((68, 2)))
    plate = np.zeros((8, 8, 3), np.uint8)
    writer.finish(audio=np.zeros(6 * 640), background=plate, head_poses=pose_curve(6), eyes=np.zeros(6), val=[1, 4])
    split = Dataset(root).split
    assert split.train == (0, 2, 3, 5) and split.val == (1, 4)


class Runs:
    """A pickle that would leave a mark if anybody unpickled it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.mark),)


def edit_tracking(folder: Path, **changes: torch.Tensor | None) -> None:
    entries = torch.load(folder / "track_params.pt", weights_only=True)
    for name, value in changes.items():
        if value is None:
            del entries[name]
        else:
            entries[name] = value
    torch.save(entries, folder / "track_params.pt")


def nan_translation(folder: Path) -> None:
    trans = torch.full((FRAMES, 3), -8.0)
    trans[5, 1] = float("nan")
    edit_tracking(folder, trans=trans)


def tracking_rows(kept: Iterable[int]) -> dict[str, torch.Tensor]:
    """Angles and translations of pose_curve, of these frames only."""
    euler, trans = tracking_of_pose(pose_curve(FRAMES)[list(kept)])
    return {"euler": torch.from_numpy(euler).float(), "trans": torch.from_numpy(trans).float()}


def transforms_without(folder: Path, number: int) -> None:
    for path in folder.glob("transforms_*.json"):
        document = json.loads(path.read_text())
        document["frames"] = [frame for frame in document["frames"] if frame["img_id"] != number]
        path.write_text(json.dumps(document))


@pytest.mark.parametrize("form", ["no landmarks", "empty landmarks", "no pose", "no pose, no row", "nothing"])
def test_faceless_frame_is_left_out(folder: Path, form: str) -> None:
    """As AD-NeRF's preparation leaves it: no landmarks, no pose, not listed; the numbers of the others stay."""
    others = [i for i in range(FRAMES) if i != 5]
    (folder / "torso_params.npz").unlink()
    (folder / "ori_imgs/5.lms").unlink()
    if form == "empty landmarks":
        (folder / "ori_imgs/5.lms").touch()
    if form in ("no pose", "no pose, no row", "nothing"):
        edit_tracking(folder, **tracking_rows(others))
        transforms_without(folder, 5)
    if form in ("no pose, no row", "nothing"):
        unit_rows(folder, others)
    if form == "nothing":
        (folder / "ori_imgs/5.png").unlink()
        (folder / "parsing/5.png").unlink()
    dataset = validate(folder)
    assert dataset.frames == 11 and dataset.numbers.tolist() == others
    what = "picture" if form == "nothing" else "landmarks"
    assert dataset.notes == (f"1 of 12 frames are left out: 1 without {what} (5)",)
    np.testing.assert_allclose(dataset.head_poses, pose_curve(FRAMES)[others], atol=1e-5)
    np.testing.assert_allclose(dataset.eyes, np.linspace(0, 1, FRAMES)[others], atol=1e-3)
    assert np.abs(dataset.image(5).astype(int) - 60).max() <= 2, "the picture 6.png"
    assert dataset.split.train == tuple(range(10)) and dataset.split.val == (10,)
    assert dataset.sound_frames.tolist() == others


LACKING: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "picture": (lambda f: (f / "ori_imgs/3.png").unlink(), 11, "1 without picture (3)"),
    "mask": (lambda f: (f / "parsing/4.png").unlink(), 11, "1 without mask (4)"),
    "composited": (lambda f: (f / "gt_imgs/6.png").unlink(), 11, "1 without picture over the plate (6)"),
    "last pictures": (
        lambda f: [(f / f"ori_imgs/{i}.png").unlink() for i in (10, 11)],
        10,
        "2 without picture (10, 11)",
    ),
    "short blinks": (lambda f: unit_rows(f, range(9)), 9, "3 without row in au.csv (9, 10, 11)"),
}


@pytest.mark.parametrize("case", LACKING)
def test_what_is_whole_is_loaded(folder: Path, case: str) -> None:
    harm, frames, note = LACKING[case]
    harm(folder)
    dataset = validate(folder)
    assert dataset.frames == frames and len(dataset.notes) == 1
    assert dataset.notes[0].endswith(note) and f"{12 - frames} of 12 frames" in dataset.notes[0]
    np.testing.assert_allclose(dataset.head_poses, pose_curve(FRAMES)[dataset.numbers], atol=1e-5)
    assert Dataset(folder).landmarks(frames - 1).shape == (68, 2)


def test_a_whole_folder_has_nothing_to_tell(pristine: Path) -> None:
    dataset = Dataset(pristine)
    assert dataset.notes == () and dataset.numbers.tolist() == list(range(FRAMES))


def test_transforms_may_list_fewer_frames(folder: Path) -> None:
    transforms_without(folder, 2)
    dataset = Dataset(folder)
    assert dataset.frames == FRAMES and 2 not in dataset.split.train and len(dataset.split.train) == 10


def test_the_only_sound_is_the_clips(folder: Path) -> None:
    before = Dataset(folder).audio
    (folder / "aud.wav").rename(folder / "audio.wav")
    assert np.array_equal(validate(folder).audio, before)
    shutil.copy(folder / "audio.wav", folder / "other.wav")
    with pytest.raises(FormatError, match=r"aud\.wav is missing"):
        validate(folder)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "most landmarks missing": (
        lambda f: [(f / f"ori_imgs/{i}.lms").unlink() for i in range(7)],
        "7 of 12 frames are left out: 7 without landmarks (0, 1, 2, 3, 4, ...)",
    ),
    "poses that fit nothing": (
        lambda f: [(f / "ori_imgs/5.lms").unlink(), edit_tracking(f, **tracking_rows(range(9)))],
        "9 rows for 12 frames, 12 of them with a picture and 11 with landmarks",
    ),
    "no pictures": (lambda f: shutil.rmtree(f / "ori_imgs"), "no picture 0.png"),
    "unreadable picture": (lambda f: (f / "ori_imgs/2.png").write_bytes(b"not a picture"), "2.png cannot be read"),
    "truncated picture": (
        lambda f: (f / "ori_imgs/2.png").write_bytes((f / "ori_imgs/2.png").read_bytes()[:60]),
        "2.png cannot be read",
    ),
    "wrong size": (lambda f: Image.new("RGB", (9, 9)).save(f / "ori_imgs/2.png"), "2.png is 9x9"),
    "wrong mask size": (lambda f: Image.new("RGB", (9, 9)).save(f / "parsing/2.png"), "2.png is 9x9"),
    "plate missing": (lambda f: (f / "bc.png").unlink(), "bc.png is missing"),
    "sound missing": (lambda f: (f / "aud.wav").unlink(), "aud.wav is missing"),
    "sound damaged": (lambda f: (f / "aud.wav").write_bytes(b"RIFF"), "aud.wav is not a WAV"),
    "blinks missing": (lambda f: (f / "au.csv").unlink(), "au.csv is missing"),
    "blink column missing": (lambda f: (f / "au.csv").write_text("a,b\n1,2\n"), "no column 'AU45_r'"),
    "blink not a number": (lambda f: (f / "au.csv").write_text(" AU45_r\n" + "x\n" * FRAMES), "not all numbers"),
    "few blinks": (
        lambda f: (f / "au.csv").write_text(" AU45_r\n1\n"),
        "11 of 12 frames are left out",
    ),
    "landmarks short": (lambda f: (f / "ori_imgs/1.lms").write_text("1 2\n3 4\n"), "1.lms has shape (2, 2)"),
    "landmarks garbage": (lambda f: (f / "ori_imgs/1.lms").write_text("a b\n"), "1.lms is not 68 lines"),
    "tracking missing": (lambda f: (f / "track_params.pt").unlink(), "track_params.pt is missing"),
    "tracking without euler": (lambda f: edit_tracking(f, euler=None), "no tensor `euler`"),
    "tracking of other length": (
        lambda f: edit_tracking(f, euler=torch.zeros(5, 3), trans=torch.full((5, 3), -8.0)),
        "7 of 12 frames are left out: 7 without tracked pose",
    ),
    "NaN pose": (nan_translation, "not finite at index (5, 1)"),
    "head behind camera": (lambda f: edit_tracking(f, trans=torch.full((FRAMES, 3), 8.0)), "behind the camera"),
    "focal zero": (lambda f: edit_tracking(f, focal=torch.zeros(1)), "focal"),
    "torso of other length": (lambda f: np.savez(f / "torso_params.npz", poses=np.zeros((3, 3, 4))), "(3, 3, 4)"),
    "split out of range": (
        lambda f: (f / "transforms_val.json").write_text('{"cx":1,"cy":1,"frames":[{"img_id":99}]}'),
        "names frame 99",
    ),
    "split not JSON": (lambda f: (f / "transforms_train.json").write_text("{"), "not a transforms file"),
    "split overlaps": (
        lambda f: (f / "transforms_val.json").write_text('{"cx":1,"cy":1,"frames":[{"img_id":0}]}'),
        "frame 0 is in transforms_train.json and",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_folder_is_named(folder: Path, case: str) -> None:
    harm, expected = BROKEN[case]
    harm(folder)
    with pytest.raises(FormatError) as caught:
        validate(folder)
    assert expected in str(caught.value)


def test_all_problems_are_told_at_once(folder: Path) -> None:
    for name in ("ori_imgs/2.png", "parsing/7.png"):
        (folder / name).write_bytes(b"x")
    with pytest.raises(FormatError, match=r"2\.png.*7\.png"):
        validate(folder)


@pytest.mark.parametrize("name", ["track_params.pt", "torso_params.npz", "aud_ds.npy"])
def test_pickles_are_not_run(folder: Path, tmp_path: Path, name: str) -> None:
    mark = tmp_path / "mark"
    if name.endswith(".pt"):
        (folder / name).write_bytes(pickle.dumps(Runs(mark)))
    elif name.endswith(".npz"):
        np.savez(folder / name, poses=np.array([Runs(mark)], dtype=object))
    else:
        np.save(folder / name, np.array([Runs(mark)], dtype=object))
    with pytest.raises(FormatError, match=name.replace(".", r"\.")):
        Dataset(folder).features("aud_ds.npy")
    assert not mark.exists()


def test_unfinished_or_existing_folder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="already holds"):
        DatasetWriter(folder, 8, 8, focal=10.0).prepare()
    writer = DatasetWriter(tmp_path / "half", 8, 8, focal=10.0).prepare()
    writer.frame(0, np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.uint8), np.ones((68, 2)))
    with pytest.raises(FormatError, match=r"track_params\.pt is missing"):
        Dataset(tmp_path / "half")
    with pytest.raises(InputError, match="frame 1 was never written"):
        writer.finish(
            audio=np.zeros(10), background=np.zeros((8, 8, 3), np.uint8), head_poses=pose_curve(2), eyes=[0, 0]
        )


def test_nothing_there() -> None:
    with pytest.raises(BeingError, match="is not a folder"):
        Dataset("no/such/folder")
