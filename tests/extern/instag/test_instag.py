"""An InsTaG folder in the published layout: upgraded, trained on; and ours written so that the originals can train."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from being.extern.bfm import FaceModel, load_face_model
from being.extern.instag import publish, upgrade
from being.extern.openface import ActionUnits, read_units, write_units
from PIL import Image
from scipy.spatial.transform import Rotation
from support.published import face_info

import being
from being import cli
from being.avatar.folder import load_avatar
from being.avatar.motion import Motion
from being.dataset import Dataset
from being.dataset.folder import read_picture
from being.dataset.parsing import HEAD, NECK
from being.dataset.pose import camera_to_world
from being.errors import FormatError, InputError
from being.synthetic import generate
from being.training import FitConfig, fit

FRAMES, SIDE = 20, 32
DEMO = Path(being.__file__).parent / "avatars" / "demo"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ours") / "person"
    return generate(root, seconds=FRAMES / 25, seed=5, size=(SIDE, SIDE), workers=1, voices=["formant"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bfm") / "3DMM_info.npy"
    np.save(path, face_info(), allow_pickle=True)  # type: ignore[arg-type]
    return path


@pytest.fixture
def face(model: Path) -> FaceModel:
    return load_face_model(model)


@pytest.fixture
def instag(ours: Path, tmp_path: Path) -> Path:
    """The clip as InsTaG's own tools would have left it."""
    folder = tmp_path / "instag"
    shutil.copytree(ours, folder, ignore=shutil.ignore_patterns("truth.npz", "performance.npz", "torso_params.npz"))
    rng = np.random.default_rng(2)
    tracked = torch.load(folder / "track_params.pt", weights_only=True)
    tracked["exp"] = torch.tensor(rng.normal(size=(FRAMES, 79)), dtype=torch.float32)
    tracked["id"] = torch.tensor(rng.normal(size=(1, 100)), dtype=torch.float32)
    assert "vertices" not in tracked
    torch.save(tracked, folder / "track_params.pt")
    np.save(folder / "aud_eo.npy", rng.normal(size=(FRAMES - 1, 16, 44)))
    for index in range(FRAMES):
        path = folder / "parsing" / f"{index}.png"
        picture = read_picture(path).copy()
        head = np.argwhere((picture == [0, 0, 255]).all(-1))
        top, middle = head[head[:, 0] < head[:, 0].min() + 3], head[len(head) // 2 : len(head) // 2 + 4]
        picture[tuple(top.T)], picture[tuple(middle.T)] = 0, 100
        path.unlink()
        Image.fromarray(picture).save(path)
    columns = {f"AU{k:02d}_r": rng.uniform(0, 2, FRAMES) for k in (1, 4, 25, 45)}
    write_units(folder / "au.csv", ActionUnits(columns, classic=False))
    return folder


def test_an_instag_folder_upgrades_and_trains(instag: Path, ours: Path, model: Path, tmp_path: Path) -> None:
    face, out = load_face_model(model), tmp_path / "footage"
    before = {path: path.read_bytes() for path in instag.rglob("*") if path.is_file()}
    done = upgrade(instag, out, face)
    assert (done.frames, done.vertices, done.audio_width, done.recoloured) == (FRAMES, 700, 44, FRAMES)
    assert all(path.read_bytes() == content for path, content in before.items())

    data, original = Dataset(out), Dataset(ours)
    tracked = torch.load(instag / "track_params.pt", weights_only=True)
    every = [face.vertices(tracked["id"][0].numpy(), mimic.numpy()) for mimic in tracked["exp"]]
    np.testing.assert_allclose(data.vertices, np.mean(every, axis=0), atol=1e-5)
    np.testing.assert_allclose(data.head_poses, original.head_poses, atol=1e-6)
    for index in (0, FRAMES - 1):
        np.testing.assert_array_equal(data.parsing(index), original.parsing(index))
        painted = np.unique(read_picture(out / "parsing" / f"{index}.png").reshape(-1, 3), axis=0)
        assert {tuple(colour) for colour in painted.tolist()} <= {
            (255, 255, 255),
            (0, 0, 255),
            (0, 255, 0),
            (255, 0, 0),
        }
    assert (out / "au.csv").read_text().startswith("frame, timestamp")  # GaussianTalker looks for " AU45_r"
    np.testing.assert_allclose(data.features("aud_eo.npy"), np.load(instag / "aud_eo.npy"), rtol=1e-6)
    np.testing.assert_array_equal(np.load(out / "aud_ds.npy"), np.load(out / "aud_eo.npy"))
    assert os.path.samefile(out / "ori_imgs" / "3.png", instag / "ori_imgs" / "3.png")

    config = FitConfig(
        static_steps=4,
        network_steps=4,
        batch=2,
        initial_gaussians=100,
        gaussians=120,
        features="wav2vec2",
        look_ahead="published",
        plane_resolutions=(8, 16),
        backend="reference",
        device="cpu",
    )
    result = fit(out, tmp_path / "avatars" / "ada", config)
    assert result.avatar is not None and result.avatar.folder is not None
    manifest = load_avatar(result.avatar.folder).manifest
    assert (manifest.network.audio_width, manifest.features.name, manifest.look_ahead) == (44, "wav2vec2", "published")
    assert np.isfinite(list(result.metrics.values())).all()


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Exit status, stdout and stderr of `being ARGUMENTS`, in this process."""
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def being(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["being", *map(str, arguments)])
        with pytest.raises(SystemExit) as leave:
            cli.main()
        out, err = capsys.readouterr()
        return int(leave.value.code or 0), out, err

    return being


def test_the_command(instag: Path, model: Path, tmp_path: Path, run: Run) -> None:
    status, said, err = run("import", "instag", instag, "-o", tmp_path / "footage", "--bfm", model)
    assert status == 0 and "mesh of 700 points, sound features 44 wide, 20 masks repainted" in said, err
    status, _, err = run("import", "instag", instag, "-o", tmp_path / "footage", "--bfm", model)
    assert status == cli.USER_ERROR and "already exists" in err
    status, said, err = run("export", "dataset", tmp_path / "footage", "-o", tmp_path / "out", "--for", "instag")
    assert status == 0 and "still to do: teeth_mask/" in said, err


def test_what_it_needs(instag: Path, face: FaceModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no mesh.*--bfm"):
        upgrade(instag, tmp_path / "out")
    (instag / "aud_eo.npy").unlink()
    with pytest.raises(InputError, match="no sound features"):
        upgrade(instag, tmp_path / "out", face)
    np.save(instag / "aud.npy", np.zeros((FRAMES, 16, 29)))
    assert upgrade(instag, tmp_path / "out", face).audio_width == 29
    assert not (tmp_path / "out" / "aud_eo.npy").exists()
    tracked = torch.load(instag / "track_params.pt", weights_only=True)
    tracked["vertices"] = torch.randn(FRAMES, 50, 3)
    torch.save(tracked, instag / "track_params.pt")
    assert upgrade(instag, tmp_path / "again").vertices == 50  # a mesh that is there needs no model


def spoil(folder: Path, what: str) -> None:
    tracked = torch.load(folder / "track_params.pt", weights_only=True)
    if what == "exp":
        tracked["exp"] = tracked["exp"][:5]
    elif what == "nan":
        tracked["id"][0, 3] = float("nan")
    elif what == "huge":
        tracked["exp"] = torch.zeros(1).expand(10**12, 79)
    elif what == "windows":
        np.save(folder / "aud_eo.npy", np.zeros((5, 16, 45)))
    elif what == "objects":
        np.save(folder / "aud_eo.npy", np.array([{}], object), allow_pickle=True)
    elif what == "mask":
        (folder / "parsing" / "7.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    elif what == "missing":
        (folder / "parsing" / "7.png").unlink()
    elif what == "landmarks":
        (folder / "ori_imgs" / "2.lms").unlink()
    torch.save(tracked, folder / "track_params.pt")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("exp", "'exp' has 5 frames, 'euler' 20"),
        ("nan", "'id' is not finite"),
        ("huge", "claims more than the file holds"),
        ("windows", r"aud_eo.npy has shape \(5, 16, 45\)"),
        ("objects", "aud_eo.npy is not a plain array"),
        ("mask", "7.png"),
        ("missing", r"1 without mask \(7\)"),
        ("landmarks", r"1 without landmarks \(2\)"),
    ],
)
def test_damaged_folders_leave_nothing(what: str, words: str, instag: Path, face: FaceModel, tmp_path: Path) -> None:
    spoil(instag, what)
    with pytest.raises(FormatError, match=words):
        upgrade(instag, tmp_path / "out", face)
    assert [path.name for path in tmp_path.iterdir()] == ["instag"]


@pytest.mark.parametrize("target", ["gaussiantalker", "instag"])
def test_ours_in_the_published_layout(ours: Path, target: str, tmp_path: Path) -> None:
    np.save(tmp_path / "speech_eo.npy", np.random.default_rng(0).normal(size=(FRAMES, 16, 44)))
    source, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(ours, source)
    marks = (source / "ori_imgs" / "3.lms").read_text().splitlines()
    x, y = marks[66].split()  # the lower inner lip: one open mouth in a clip that hardly speaks
    marks[66] = f"{x} {float(y) + 4}"
    (source / "ori_imgs" / "3.lms").write_text("\n".join(marks))
    done = publish(source, out, target, windows=tmp_path / "speech_eo.npy")  # type: ignore[arg-type]
    data = Dataset(out)
    assert done.frames == data.frames == FRAMES and data.vertices is not None
    assert (out / ("aud_ds.npy" if target == "gaussiantalker" else "aud_eo.npy")).is_file()
    for name, form in {"ori_imgs": "jpg", "gt_imgs": "jpg", "torso_imgs": "png"}.items():  # as the originals open them
        pictures = sorted(p.name for p in (out / name).iterdir() if p.suffix != ".lms")
        assert pictures == sorted(f"{index}.{form}" for index in range(FRAMES))
    original = Dataset(ours)
    assert (out / "bc.jpg").is_file() and not (out / "bc.png").exists()
    for index in range(FRAMES):
        assert np.abs(data.composited(index).astype(int) - original.composited(index)).mean() < 3
    np.testing.assert_allclose(data.eyes, original.eyes, atol=1e-4)
    np.testing.assert_array_equal(data.parsing(4), original.parsing(4))
    units = read_units(out / "au.csv")
    colours = {
        tuple(c) for k in range(FRAMES) for c in read_picture(out / "parsing" / f"{k}.png").reshape(-1, 3).tolist()
    }
    if target == "gaussiantalker":
        assert units.classic and (100, 100, 100) not in colours
    else:
        assert not units.classic and set(units.intensities) >= {"AU01_r", "AU25_r", "AU45_r"}
        assert (100, 100, 100) in colours and units.intensities["AU25_r"].argmax() == 3
    # The cloud stands where the head does.
    pixels = data.vertices @ data.head_poses[0][:, :3].T + data.head_poses[0][:, 3]
    place = data.intrinsics[:2] * pixels[:, :2] / pixels[:, 2:] + data.intrinsics[2:]
    row, column = np.nonzero(original.parsing(0) == HEAD)
    assert np.abs(np.median(place, axis=0) - [np.median(column), np.median(row)]).max() < 0.2 * SIDE


def test_the_torso_without_its_head(ours: Path, tmp_path: Path) -> None:
    data = Dataset(ours)
    publish(ours, tmp_path / "out")
    torso = read_picture(tmp_path / "out" / "torso_imgs" / "0.png", "RGBA")
    labels = data.parsing(0)
    body = labels >= NECK
    np.testing.assert_array_equal(torso[body][:, :3], data.image(0)[body])
    assert (torso[body][:, 3] == 255).all()
    raised = (torso[..., 3] == 255) & ~body
    assert raised.any() and (labels[raised] == HEAD).all()  # the neck goes on behind the chin, nowhere else


def test_publishing_asks_for_what_is_missing(ours: Path, tmp_path: Path) -> None:
    assert any("extract_ds_features.py" in note for note in publish(ours, tmp_path / "out").notes)
    np.save(tmp_path / "wide.npy", np.zeros((4, 16, 30)))
    with pytest.raises(InputError, match=r"\(4, 16, 30\)"):
        publish(ours, tmp_path / "again", windows=tmp_path / "wide.npy")
    assert not (tmp_path / "again").exists()


def test_pictures_that_are_missing_are_named_where_they_are_missed(
    instag: Path, face: FaceModel, tmp_path: Path
) -> None:
    shutil.rmtree(instag / "ori_imgs")
    with pytest.raises(FormatError, match="instag/ori_imgs holds no pictures"):
        upgrade(instag, tmp_path / "footage", face)


def test_poses_of_an_avatar_take_the_place_of_the_tracked_ones(ours: Path, tmp_path: Path, run: Run) -> None:
    data = Dataset(ours)
    avatar = replace(load_avatar(DEMO), motion=motion_like(data, turn=0.05))
    out = tmp_path / "out"
    publish(ours, out, posed_by=avatar)
    refined = Dataset(out)
    np.testing.assert_allclose(refined.head_poses, avatar.motion.head_pose, atol=1e-5)
    for name in ("train", "val"):
        before, after = (json.loads((folder / f"transforms_{name}.json").read_text()) for folder in (ours, out))
        assert [f["img_id"] for f in before["frames"]] == [f["img_id"] for f in after["frames"]]
        assert before["focal_len"] == after["focal_len"]
        for frame in after["frames"]:
            expected = camera_to_world(avatar.motion.head_pose[frame["img_id"]])
            np.testing.assert_allclose(frame["transform_matrix"], expected, atol=1e-6)
    with pytest.raises(InputError, match="is not that of"):
        publish(ours, tmp_path / "other", posed_by=load_avatar(DEMO))
    status, _, err = run("export", "dataset", ours, "-o", tmp_path / "no", "--poses", "demo")
    assert status == cli.USER_ERROR and "trained on this footage" in err
    assert not (tmp_path / "no").exists()


def motion_like(data: Dataset, turn: float) -> Motion:
    """The motion of the footage, all heads turned further, radians."""
    further = Rotation.from_rotvec([0, turn, 0]).as_matrix()
    head = data.head_poses.copy()
    head[:, :, :3] = head[:, :, :3] @ further
    return Motion(head, data.torso_poses, data.eyes, np.zeros(data.frames, bool))
