"""The talking-portrait folder (AD-NeRF, ER-NeRF, GaussianTalker, InsTaG), read.

Opening a `Dataset` reads the numbers (poses, blinks, split) and lists the pictures, and fails at once with the file and
the remedy when something is missing or malformed; pictures are decoded one by one as they are asked for.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from being.constants import FPS, MAX_PICTURE_SIDE
from being.dataset.parsing import labels_of_colours
from being.dataset.pose import rest_pose
from being.dataset.sound import read_wav, sound_notes, sound_path
from being.dataset.tracking import (
    Tracking,
    Transforms,
    closure_of,
    expressions_of,
    read_action_units,
    read_array,
    read_landmarks,
    read_torso_poses,
    read_tracking,
    read_transforms,
)
from being.dataset.whole import Whole, whole_frames
from being.errors import FormatError, InputError

TRAIN_SHARE = 10 / 11  # published split: the first 10/11 of the frames train, the rest is held out
MOST_SOUND_FRAMES = FPS * 24 * 3600  # a sound window with a higher number is a slip
PICTURES = (".png", ".jpg", ".jpeg")  # ours are lossless, the published layout's are JPEG
MAX_PIXELS = MAX_PICTURE_SIDE**2  # a picture larger than this is refused before it is decoded


@dataclass(frozen=True)
class Split:
    """Frame numbers to train on and frame numbers held out."""

    train: tuple[int, ...]
    val: tuple[int, ...]


def read_picture(path: Path, mode: str = "RGB") -> NDArray[np.uint8]:
    """Decode a picture as uint8: (H, W, 3), (H, W, 4) for mode "RGBA", (H, W) for "L". Raises FormatError by name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise FormatError(f"{path} is {image.width}x{image.height} pixels", "Scale the video down")
                return np.asarray(image.convert(mode))
    except FileNotFoundError as error:
        raise FormatError(f"{path} is missing", "Capture the video again") from error
    except FormatError:
        raise
    except Exception as error:  # Pillow raises many types on damaged files; each means the same to the user
        raise FormatError(f"{path} cannot be read as a picture ({error})", "Copy or capture it again") from error


def numbered(folder: Path, suffixes: tuple[str, ...]) -> dict[int, Path]:
    """Files named by an unpadded frame number: {0: folder/0.png, ...}; of two for a frame the earlier suffix's."""
    if not folder.is_dir():
        return {}
    found: dict[int, Path] = {}
    for path in folder.iterdir():
        if path.suffix.lower() in suffixes and path.stem.isdecimal() and str(int(path.stem)) == path.stem:
            index = int(path.stem)
            rank = suffixes.index(path.suffix.lower())
            if index not in found or rank < suffixes.index(found[index].suffix.lower()):
                found[index] = path
    return found


def picture_path(folder: Path, index: int) -> Path:
    """The picture numbered `index`, in whichever form it has; the name ours would have where there is none."""
    names = [folder / f"{index}{suffix}" for suffix in PICTURES]
    return next((path for path in names if path.is_file()), names[0])


def plate_path(folder: Path) -> Path:
    """The clean plate of a dataset: bc.png, or bc.jpg of the published layout."""
    published = folder / "bc.jpg"
    return published if published.is_file() and not (folder / "bc.png").is_file() else folder / "bc.png"


class Dataset:
    """One person's footage.

    Parameters
    ----------
    path : the folder.

    Attributes
    ----------
    frames : number of pictures T that have everything: pose, landmarks, mask, blink
    numbers : int (T,), the numbers that these have in the names of their files
    notes : what was left out or converted, and why; empty for a folder that is whole
    width, height : pixels
    intrinsics : float32 (4,): fx, fy, cx, cy in pixels
    head_poses : float32 (T, 3, 4), see `being.dataset.pose`
    torso_poses : float32 (T, 3, 4); `torso_tracked` says whether the folder had them
    eyes : float32 (T,) in [0, 1], 1 = shut
    expressions : float32 (T, E) in [0, 1], one column for each of `expression_names` (smile, brows_up, frown: those
        that the folder's action units show)
    vertices : float32 (V, 3) canonical mesh points or None
    has_mattes : whether the folder says how much of each pixel is the person (`alpha`): footage whose background does
        not stand still, because the camera moves or what is behind changes
    camera_moves : whether the poses, relative to the camera, hold the motion of a hand or a pan too
    split : frame numbers for training and held out
    sound_frames : int (T,), which 25th of a second of the sound each picture goes with; not its own number where parts
        of the film were left out

    Raises
    ------
    InputError when there is no such folder; FormatError for anything missing or malformed in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise InputError(f"{self.path} is not a folder", "Give the folder that holds ori_imgs/ and track_params.pt")
        self._pictures = numbered(self.path / "ori_imgs", PICTURES)
        if not self._pictures:
            raise FormatError(
                f"{self.path / 'ori_imgs'} holds no picture 0.png or 0.jpg",
                "Give the folder that holds ori_imgs/ and track_params.pt",
            )
        self._composited = numbered(self.path / "gt_imgs", PICTURES)
        tracking = read_tracking(self.path / "track_params.pt")
        units = read_action_units(self.path / "au.csv")
        train, val = (read_transforms(self.path / f"transforms_{name}.json") for name in ("train", "val"))
        whole = self._whole_frames(tracking, units, [part for part in (train, val) if part])
        self.numbers, self.notes = whole.numbers, (*whole.notes, *sound_notes(self.path))
        self.frames = len(self.numbers)
        self.height, self.width = read_picture(self._pictures[int(self.numbers[0])]).shape[:2]
        self.head_poses = tracking.head_poses[whole.poses]
        mattes = numbered(self.path / "alpha", (".png",))
        self.has_mattes = bool(self._composited) and all(int(number) in mattes for number in self.numbers)
        self.vertices = tracking.vertices
        torso = read_torso_poses(self.path / "torso_params.npz", len(tracking.head_poses))
        self.torso_tracked = torso is not None
        self.torso_poses = (
            np.repeat(rest_pose(self.head_poses)[None], self.frames, 0) if torso is None else torso[whole.poses]
        )
        units = {name: values[whole.units] for name, values in units.items()}
        self.eyes = closure_of(units)
        shown = expressions_of(units)
        self.expression_names = tuple(shown)
        self.expressions = np.array(list(shown.values()), np.float32).reshape(len(shown), self.frames).T
        self.split = self._make_split(whole.count, train.frames if train else None, val.frames if val else None)
        self.sound_frames = _sound_frames(whole.count, [part for part in (train, val) if part])[self.numbers]
        self.camera_moves = train is not None and train.camera_moves
        centre = train.centre if train else (self.width / 2, self.height / 2)
        self.intrinsics = np.array([tracking.focal, tracking.focal, *centre], np.float32)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Picture `index` as filmed, RGB (H, W, 3)."""
        path = self._pictures[self._number(index)]
        return self._sized(read_picture(path), path)

    def composited(self, index: int) -> NDArray[np.uint8]:
        """Picture `index` over the clean plate (gt_imgs/); as filmed where the folder has no gt_imgs/."""
        path = self._composited.get(self._number(index), self._pictures[self._number(index)])
        return self._sized(read_picture(path), path)

    @property
    def one_take(self) -> bool:
        """Whether a camera that stood still filmed all of it at one go.

        Only then is the motion of an avatar the footage's frame by frame, see `being.training.export.recorded_motion`.
        """
        return not self.camera_moves and bool((np.diff(self.sound_frames) == 1).all())

    def parsing(self, index: int) -> NDArray[np.uint8]:
        """Labels (H, W) of picture `index`: see `being.dataset.parsing`."""
        path = self.path / "parsing" / f"{self._number(index)}.png"
        return labels_of_colours(self._sized(read_picture(path), path))

    def alpha(self, index: int) -> NDArray[np.uint8]:
        """How much of each pixel of `composited(index)` is the person, 0 to 255 (H, W); needs `has_mattes`."""
        path = self.path / "alpha" / f"{self._number(index)}.png"
        return self._sized(read_picture(path, "L"), path)

    @property
    def finds_teeth(self) -> bool:
        """Whether the folder tells where teeth show at all."""
        return (self.path / "teeth_mask").is_dir()

    def teeth(self, index: int) -> NDArray[np.bool_] | None:
        """Where teeth show in picture `index` (H, W); None where the folder has no mask for it."""
        path = self.path / "teeth_mask" / f"{self._number(index)}.npy"
        if not path.exists():
            return None
        return read_array(path, (self.height, self.width)) > 0

    def landmarks(self, index: int) -> NDArray[np.float32]:
        """68 iBUG landmarks (68, 2) of picture `index`, pixels."""
        return read_landmarks(self.path / "ori_imgs" / f"{self._number(index)}.lms")

    def head_pose(self, index: int) -> NDArray[np.float32]:
        """Head pose (3, 4) of picture `index`."""
        return self.head_poses[self._check(index)]

    def torso_pose(self, index: int) -> NDArray[np.float32]:
        """Torso pose (3, 4) of picture `index`; the rest pose where the folder has none."""
        return self.torso_poses[self._check(index)]

    def eye(self, index: int) -> float:
        """Eye closure of picture `index`: 0 open, 1 shut."""
        return float(self.eyes[self._check(index)])

    @cached_property
    def audio(self) -> NDArray[np.float32]:
        """The sound of the clip, 16 kHz mono (S,)."""
        return read_wav(sound_path(self.path))

    @cached_property
    def background(self) -> NDArray[np.uint8]:
        """The clean plate, RGB (H, W, 3)."""
        path = plate_path(self.path)
        return self._sized(read_picture(path), path)

    def features(self, name: str) -> NDArray[np.float32]:
        """Precomputed feature windows (N, 16, D) by file name, e.g. "aud_ds.npy". Clamp the frame number to N."""
        return read_array(self.path / name, (None, 16, None)).astype(np.float32)

    def _check(self, index: int) -> int:
        if not 0 <= index < self.frames:
            raise InputError(f"{self.path} has frames 0..{self.frames - 1}, not {index}")
        return index

    def _sized(self, picture: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
        if picture.shape[:2] != (self.height, self.width):
            raise FormatError(
                f"{path} is {picture.shape[1]}x{picture.shape[0]}, the first picture {self.width}x{self.height}",
                "All pictures of a folder have one size: capture the video again",
            )
        return picture

    def _number(self, index: int) -> int:
        return int(self.numbers[self._check(index)])

    def _whole_frames(
        self, tracking: Tracking, units: dict[str, NDArray[np.float64]], parts: list[Transforms]
    ) -> Whole:
        marks = numbered(self.path / "ori_imgs", (".lms",))
        faces = {number for number, file in marks.items() if file.stat().st_size}  # some leave an empty file instead
        files: dict[str, Collection[int]] = {"picture": self._pictures, "landmarks": faces}
        files["mask"] = numbered(self.path / "parsing", (".png",))
        if self._composited:
            files["picture over the plate"] = self._composited
        listed = {index for part in parts for index in part.frames}
        rows = len(next(iter(units.values())))
        return whole_frames(self.path, files, faces, listed, len(tracking.head_poses), rows)

    def _make_split(self, count: int, train: tuple[int, ...] | None, val: tuple[int, ...] | None) -> Split:
        if train is None:
            last = max(1, round(self.frames * TRAIN_SHARE))
            train, val = tuple(range(last)), tuple(range(last, self.frames))
        else:
            train, val = self._indices(count, train), self._indices(count, val or ())
        both = set(train) & set(val)
        if both:
            number = self.numbers[min(both)]
            raise FormatError(f"{self.path}: frame {number} is in transforms_train.json and in transforms_val.json")
        if not train:
            raise FormatError(f"{self.path}: transforms_train.json names no frame")
        return Split(train, val)

    def _indices(self, count: int, numbers: tuple[int, ...]) -> tuple[int, ...]:
        """Frames of a transforms file that are here."""
        for number in numbers:
            if not 0 <= number < count:
                raise FormatError(f"{self.path}: transforms_*.json names frame {number} of 0..{count - 1}")
        index_of = {int(number): index for index, number in enumerate(self.numbers)}
        return tuple(index_of[number] for number in numbers if number in index_of)


def _sound_frames(count: int, parts: list[Transforms]) -> NDArray[np.int64]:
    """(count,) by the transforms files; a frame that is in neither goes with the sound after its predecessor's."""
    out = np.full(count, -1, np.int64)
    for part in parts:
        for frame, sound in zip(part.frames, part.sound, strict=True):
            out[frame] = sound if 0 <= sound < MOST_SOUND_FRAMES else frame
    for index in range(count):
        if out[index] < 0:
            out[index] = out[index - 1] + 1 if index else 0
    return out
