"""A dataset of ours -> a folder that InsTaG or GaussianTalker trains on.

Our folders have the published layout already; what the originals want beyond it is made here: the torso without its
head, a point cloud of the head, the header style of `au.csv`, and feature windows under the names they open.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from being.extern.carry import carry
from being.extern.openface import ActionUnits, read_units, write_units
from being.extern.untrusted import load_array, load_tensors
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from being.atomic import whole_folder
from being.avatar.folder import Avatar
from being.dataset import Dataset
from being.dataset.folder import picture_path, plate_path
from being.dataset.landmarks import MOUTH, mouth_opening, triangulate
from being.dataset.parsing import BACKGROUND, HEAD, NECK, TORSO, colours_of_labels
from being.dataset.pose import camera_to_world, tracking_of_pose
from being.errors import InputError
from being.progress import Progress, Silent

JPEG_QUALITY = 95

Target = Literal["gaussiantalker", "instag"]

SOUND = {"gaussiantalker": {29: "aud_ds.npy", 44: "aud_ds.npy"}, "instag": {29: "aud.npy", 44: "aud_eo.npy"}}
INSTAG_UNITS = ("AU01_r", "AU04_r", "AU05_r", "AU06_r", "AU07_r", "AU25_r", "AU45_r")
MOUTH_GREY = 100  # InsTaG's masks paint the open mouth so
INNER_LIPS = slice(60, 68)  # of the 68 iBUG landmarks
JAW_ENDS, CHIN, BRIDGE, NOSE_TIP = (0, 16), 8, 27, 30
CLOUD = 10_000  # points of the head that training starts from
LANDMARK_FRAMES = 200
OPEN_LIPS = 3.0  # AU25 of a wide-open mouth, on OpenFace's scale of 0..5
NECK_RISE = 0.06  # of the picture's height: how far the neck is drawn up behind the chin


@dataclass(frozen=True)
class Published:
    """What was written, and what the original still needs that Being cannot make: one line each."""

    frames: int
    notes: tuple[str, ...]


def publish(
    source: Path,
    out: Path,
    target: Target = "gaussiantalker",
    *,
    windows: Path | None = None,
    units: Path | None = None,
    posed_by: Avatar | None = None,
    progress: Progress | None = None,
) -> Published:
    """Write the folder `out`; `source` is not changed.

    Parameters
    ----------
    windows : feature windows (N, 16, 29 or 44); the folder's own aud_ds.npy, aud.npy or aud_eo.npy where None.
    units : an OpenFace table; where None, the folder's blinks, the lips' opening seen by the landmarks (InsTaG's AU25),
        and no other motion.
    posed_by : an avatar of this footage; its head poses take the place of the tracked ones.

    Raises
    ------
    InputError, FormatError
        As `being.dataset.Dataset`; `windows` or `units` of the wrong form; `posed_by` is not of this
        footage; `out` exists. Nothing is left of `out` then.
    """
    source, progress = Path(source), progress or Silent()
    data = Dataset(source)
    notes = []
    poses = _refined_poses(posed_by, data) if posed_by else None
    table = read_units(units) if units else None
    sound = _sound(source, windows, target)
    if sound is None:
        command = "data_utils/deepspeech_features/extract_ds_features.py"
        notes.append(f"no feature windows: run {command} of the original on aud.wav")
    if target == "instag":
        notes.append("teeth_mask/ and sapiens/ are made by InsTaG's own tools; hair is painted as head")
    landmarks = np.stack([data.landmarks(index) for index in range(data.frames)])
    if table is None:
        table = _units(data, landmarks, target)
        if target == "instag":
            notes.append("au.csv: AU25 is the landmarks' opening and the brows rest; --au takes OpenFace's table")
    with whole_folder(out) as draft:
        progress.part("carry over")
        for name in ("aud.wav", "transforms_train.json", "transforms_val.json"):
            if (source / name).is_file():
                carry(source / name, draft / name)
        if poses is not None:
            _with_poses(draft, data, poses)
        _as_jpeg(plate_path(source), lambda: data.background, draft / "bc.jpg")
        # The originals look for these three headers only in one style: GaussianTalker's begin with a space.
        style = ActionUnits(table.intensities, classic=target == "gaussiantalker")
        write_units(draft / "au.csv", style, data.frames)
        if sound is not None:
            np.save(draft / sound[0], sound[1])
        _track_params(source, data, landmarks, poses, draft)
        progress.part("pictures")
        for name in ("ori_imgs", "gt_imgs", "parsing", "torso_imgs"):
            (draft / name).mkdir()
        ready = source / "torso_imgs"
        for index in range(data.frames):
            labels = data.parsing(index)
            carry(source / "ori_imgs" / f"{index}.lms", draft / "ori_imgs" / f"{index}.lms")
            for name, read in (("ori_imgs", data.image), ("gt_imgs", data.composited)):
                _as_jpeg(
                    picture_path(source / name, int(data.numbers[index])),
                    partial(read, index),
                    draft / name / f"{index}.jpg",
                )
            colours = colours_of_labels(labels)
            if target == "instag":
                colours = _with_mouth(colours, labels, landmarks[index])
            Image.fromarray(colours).save(draft / "parsing" / f"{index}.png", compress_level=4)
            if (ready / f"{index}.png").is_file():
                carry(ready / f"{index}.png", draft / "torso_imgs" / f"{index}.png")
            else:
                torso = torso_alone(data.image(index), labels)
                Image.fromarray(torso).save(draft / "torso_imgs" / f"{index}.png", compress_level=4)
            progress.update((index + 1) / data.frames)
        Dataset(draft)
    return Published(data.frames, tuple(notes))


def torso_alone(image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGBA (H, W, 4): neck and torso, the neck drawn up behind the head, darker as it rises; alpha 0 elsewhere."""
    height, _ = labels.shape
    body = (labels == NECK) | (labels == TORSO)
    rgba = np.dstack([image, np.where(body, 255, 0).astype(np.uint8)])
    rgba[~body] = 0
    neck = labels == NECK
    top = neck.argmax(axis=0)  # first row of neck in a column
    covered = neck.any(axis=0) & (top > 0)
    columns = np.flatnonzero(covered)
    columns = columns[labels[top[columns] - 1, columns] == HEAD]
    rise = max(1, round(NECK_RISE * height))
    for step in range(1, rise + 1):
        rows = top[columns] - step
        inside = (rows >= 0) & (labels[np.maximum(rows, 0), columns] != BACKGROUND)
        at, source = (rows[inside], columns[inside]), (top[columns[inside]], columns[inside])
        shade = 1 - 0.5 * step / rise
        rgba[at[0], at[1], :3] = (image[source] * shade).astype(np.uint8)
        rgba[at[0], at[1], 3] = 255
    return rgba


def head_cloud(landmarks: NDArray[np.float32], poses: NDArray[np.float32], intrinsics: NDArray[np.float32]) -> NDArray:
    """Points (V, 3) on a rough head, for a training that begins from a mesh: an ellipsoid through the landmarks.

    landmarks (T, 68, 2) pixels, poses (T, 3, 4), intrinsics (4,).
    """
    chosen = np.linspace(0, len(poses) - 1, min(LANDMARK_FRAMES, len(poses))).astype(int)
    marks = triangulate(landmarks[chosen], poses[chosen].astype(np.float64), intrinsics.astype(np.float64))
    jaw = marks[list(JAW_ENDS)]
    width = 0.55 * float(np.linalg.norm(jaw[1] - jaw[0]))
    face = float(marks[BRIDGE, 1] - marks[CHIN, 1])  # chin to the root of the nose: half a head
    depth = max(float(marks[NOSE_TIP, 2] - jaw[:, 2].mean()), 0.5 * width)
    centre = np.array([jaw[:, 0].mean(), marks[CHIN, 1] + face, jaw[:, 2].mean()])
    order = np.arange(CLOUD) + 0.5
    polar, around = np.arccos(1 - 2 * order / CLOUD), np.pi * (1 + 5**0.5) * order  # even over the sphere
    sphere = np.stack([np.cos(around) * np.sin(polar), np.cos(polar), np.sin(around) * np.sin(polar)], axis=1)
    return (centre + sphere * np.array([width, face, depth])).astype(np.float32)


def _sound(source: Path, windows: Path | None, target: Target) -> tuple[str, NDArray[np.float32]] | None:
    """The name the original opens, and the windows."""
    if windows is None:
        own = [source / name for name in ("aud_ds.npy", "aud.npy", "aud_eo.npy")]
        windows = next((path for path in own if path.is_file()), None)
    if windows is None:
        return None
    array = load_array(windows, (None, 16, None), "Give windows of shape (N, 16, 29) or (N, 16, 44)")
    names = SOUND[target]
    if array.shape[2] not in names or not len(array):
        raise InputError(f"{windows} has shape {array.shape}, expected (N, 16, 29) or (N, 16, 44)")
    return names[array.shape[2]], array.astype(np.float32)


def _units(data: Dataset, landmarks: NDArray[np.float32], target: Target) -> ActionUnits:
    blink = 2.0 * data.eyes.astype(np.float64)
    if target == "gaussiantalker":
        return ActionUnits({"AU45_r": blink}, classic=True)
    columns = {name: np.zeros(data.frames) for name in INSTAG_UNITS}
    columns |= {"AU45_r": blink, "AU25_r": OPEN_LIPS * mouth_opening(landmarks).astype(np.float64)}
    return ActionUnits(columns, classic=False)


def _refined_poses(avatar: Avatar, data: Dataset) -> NDArray[np.float32]:
    """(T, 3, 4): the head poses that the avatar was trained to."""
    if len(avatar.motion) != data.frames or not data.one_take:
        raise InputError(
            f"the motion of {avatar.id} ({len(avatar.motion)} frames) is not that of {data.path} ({data.frames}) frame "
            "by frame",
            "Give the avatar that was trained on this footage; of a camera that moved and of cut films no avatar keeps "
            "the poses",
        )
    return avatar.motion.head_pose


def _with_poses(draft: Path, data: Dataset, poses: NDArray[np.float32]) -> None:
    """Write other poses into the transforms_*.json that were carried over."""
    matrices = {int(number): camera_to_world(pose) for number, pose in zip(data.numbers, poses, strict=True)}
    for path in draft.glob("transforms_*.json"):
        document: dict[str, Any] = json.loads(path.read_text())
        for frame in document["frames"]:
            if frame["img_id"] in matrices:
                frame["transform_matrix"] = matrices[frame["img_id"]].tolist()
        path.unlink()  # it may be a link to the source's
        path.write_text(json.dumps(document))


def _track_params(
    source: Path, data: Dataset, landmarks: NDArray[np.float32], poses: NDArray[np.float32] | None, draft: Path
) -> None:
    entries = load_tensors(source / "track_params.pt", "Capture the video again")
    if poses is not None:
        for name, values in zip(("euler", "trans"), tracking_of_pose(poses), strict=True):
            entries[name] = torch.from_numpy(values.astype(np.float32))
    cloud = data.vertices
    if cloud is None:
        cloud = head_cloud(landmarks, data.head_poses if poses is None else poses, data.intrinsics)
    entries["vertices"] = torch.from_numpy(np.ascontiguousarray(cloud))[None]
    torch.save(entries, draft / "track_params.pt")


def _as_jpeg(ready: Path, picture: Callable[[], NDArray[np.uint8]], target: Path) -> None:
    """The picture under the one name the originals open; carried over where it is a JPEG already."""
    if ready.is_file() and ready.suffix == target.suffix:
        carry(ready, target)
    else:
        # 4:4:4: lips are a few pixels of saturated colour, which subsampled chroma would smear over the skin
        Image.fromarray(picture()).save(target, quality=JPEG_QUALITY, subsampling=0)


def _with_mouth(
    colours: NDArray[np.uint8], labels: NDArray[np.uint8], landmarks: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """The mask with the inside of the lips in InsTaG's grey."""
    inside = Image.new("L", (labels.shape[1], labels.shape[0]))
    outline = [(float(x), float(y)) for x, y in landmarks[MOUTH][INNER_LIPS.start - MOUTH.start :]]
    ImageDraw.Draw(inside).polygon(outline, fill=1)
    painted = colours.copy()
    painted[(np.asarray(inside) == 1) & (labels == HEAD)] = MOUTH_GREY
    return painted
