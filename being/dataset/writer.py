"""The talking-portrait folder, written: the published layout, but for pictures that lose nothing.

Published trainers open JPEG alone: `being export dataset` writes it.

`frame` may be called from several processes (it only touches that frame's files); `finish` writes the numbers, and
`track_params.pt` last of all, so that a folder whose writing was cut short is refused by the reader.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from being.atomic import whole_file
from being.constants import FPS, SAMPLE_RATE
from being.dataset.folder import TRAIN_SHARE
from being.dataset.parsing import colours_of_labels
from being.dataset.pose import camera_to_world, tracking_of_pose
from being.dataset.tracking import BLINK_COLUMN, FULL_BLINK, finite
from being.errors import InputError

PNG_LEVEL = 2  # zlib level of pictures: film hardly shrinks further, and is written and read many times
LAST_FILE = "track_params.pt"


@dataclass(frozen=True)
class DatasetWriter:
    """Writes one folder.

    Parameters
    ----------
    path : folder to make; it must not hold a finished dataset.
    width, height : size of every picture, pixels.
    focal, cx, cy : camera in pixels; the principal point defaults to the middle.

    Use: `prepare()`, `frame(i, ...)` for every i in any order or process, then `finish(...)`.
    """

    path: Path
    width: int
    height: int
    focal: float
    cx: float | None = None
    cy: float | None = None

    def prepare(self, again: bool = False) -> DatasetWriter:
        """Make the folders.

        again : a finished dataset in `path` may be written on; it counts as finished when `finish` is called once more.

        Raises InputError when a finished dataset is already there or the place is not writable.
        """
        root = Path(self.path)
        if again:
            (root / LAST_FILE).unlink(missing_ok=True)
        if (root / LAST_FILE).exists():
            raise InputError(f"{root} already holds a dataset", "Choose another folder or delete it first")
        try:
            for name in ("ori_imgs", "gt_imgs", "parsing"):
                (root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{root} cannot be written ({error.strerror})", "Choose another folder") from error
        return self

    def frame(
        self,
        index: int,
        image: NDArray[np.uint8],
        parsing: NDArray[np.uint8],
        landmarks: ArrayLike,
        torso: NDArray[np.uint8] | None = None,
        composited: NDArray[np.uint8] | None = None,
        alpha: NDArray[np.floating] | None = None,
    ) -> None:
        """Write the files of one frame.

        Parameters
        ----------
        image : RGB (H, W, 3). parsing : labels (H, W), see `being.dataset.parsing`. landmarks : (68, 2) pixels.
        torso : RGBA (H, W, 4) torso and neck without the head, for published trainers.
        composited : RGB over the clean plate; None when `image` already is (the plate is what was filmed).
        alpha : (H, W) in [0, 1], the person's matte; where the background of the footage does not stand still.
        """
        self.picture(index, image)
        self.marks(index, parsing, landmarks)
        self.layers(index, composited=composited, torso=torso, alpha=alpha)

    def picture(self, index: int, image: NDArray[np.uint8]) -> None:
        """Write what was filmed, RGB (H, W, 3), alone; it also stands for the picture over the plate until `layers`.

        Losslessly, as training learns its last details from it: what published trainers open instead, JPEG, is made by
        `being export dataset`.
        """
        if image.shape != (self.height, self.width, 3) or image.dtype != np.uint8:
            wanted = (self.height, self.width, 3)
            raise InputError(f"frame {index}: image is {image.dtype} {image.shape}, expected uint8 {wanted}")
        filmed = Path(self.path) / "ori_imgs" / f"{index}.png"
        _write_whole(filmed, _png(image, PNG_LEVEL))
        _link(filmed, Path(self.path) / "gt_imgs" / f"{index}.png")

    def marks(self, index: int, parsing: NDArray[np.uint8], landmarks: ArrayLike) -> None:
        """Write labels (H, W) and the 68 landmarks (68, 2) of a frame."""
        root, size = Path(self.path), (self.height, self.width)
        if parsing.shape != size or parsing.max(initial=0) > 3:
            raise InputError(f"frame {index}: parsing is {parsing.shape}, expected labels 0..3 of shape {size}")
        points = finite(np.asarray(landmarks, np.float64), (68, 2), f"frame {index}: landmarks")
        _write_whole(root / "parsing" / f"{index}.png", _png(colours_of_labels(parsing), 4))
        lines = "".join(f"{x:.3f} {y:.3f}\n" for x, y in points)
        _write_whole(root / "ori_imgs" / f"{index}.lms", lines.encode())

    def layers(
        self,
        index: int,
        composited: NDArray[np.uint8] | None = None,
        torso: NDArray[np.uint8] | None = None,
        teeth: NDArray[np.bool_] | None = None,
        alpha: NDArray[np.floating] | None = None,
    ) -> None:
        """Add to a frame already written what could only be known later.

        Parameters
        ----------
        composited : RGB (H, W, 3) over the clean plate, instead of the picture as filmed. torso : RGBA (H, W, 4).
        teeth : (H, W), where teeth show; only frames with any need it.
        alpha : (H, W) in [0, 1], how much of `composited` is the person; of every frame or of none.
        """
        root = Path(self.path)
        if composited is not None:
            _write_whole(root / "gt_imgs" / f"{index}.png", _png(composited, PNG_LEVEL))
        if teeth is not None:
            (root / "teeth_mask").mkdir(exist_ok=True)
            buffer = io.BytesIO()
            np.save(buffer, teeth.astype(bool))
            _write_whole(root / "teeth_mask" / f"{index}.npy", buffer.getvalue())
        if alpha is not None:
            (root / "alpha").mkdir(exist_ok=True)
            _write_whole(root / "alpha" / f"{index}.png", _png(np.round(255 * alpha).astype(np.uint8), 4))
        if torso is not None:
            (root / "torso_imgs").mkdir(exist_ok=True)
            _write_whole(root / "torso_imgs" / f"{index}.png", _png(torso, 2))

    def finish(
        self,
        *,
        audio: ArrayLike,
        background: NDArray[np.uint8],
        head_poses: ArrayLike,
        eyes: ArrayLike,
        torso_poses: ArrayLike | None = None,
        val: Sequence[int] | None = None,
        vertices: ArrayLike | None = None,
        skip: Sequence[int] = (),
        action_units: Mapping[str, ArrayLike] | None = None,
        sound_frames: ArrayLike | None = None,
        camera_moves: bool = False,
    ) -> None:
        """Write sound, plate, poses, blinks and split.

        Parameters
        ----------
        audio : float (S,) in [-1, 1] at 16 kHz. background : RGB (H, W, 3). head_poses, torso_poses : (T, 3, 4).
        eyes : (T,) closure, 0 open, 1 shut; trackers that never quite reach 1 may go above.
        val : held-out frame numbers, default the last 1/11. skip : frames to neither train on nor hold out.
        vertices : (V, 3) canonical. action_units : (T,) intensities 0 to 5 by OpenFace's column name ("AU06_r").
        sound_frames : (T,) which 25th of a second of the sound each frame goes with, where frames of the film were left
        out; None: the frame's own number.
        camera_moves : the camera did not stand still, so poses, which are relative to it, hold its motion too.
        """
        import torch
        from scipy.io import wavfile

        root = Path(self.path)
        poses = finite(np.asarray(head_poses, np.float64), (None, 3, 4), "head_poses")
        frames = len(poses)
        closure = finite(np.asarray(eyes, np.float64), (frames,), "eyes")
        sound = finite(np.asarray(audio, np.float32), (None,), "audio")
        missing = [i for i in range(frames) if not (root / "ori_imgs" / f"{i}.lms").exists()]
        if missing:
            raise InputError(f"frame {missing[0]} was never written ({len(missing)} of {frames} missing)")
        pcm = np.clip(np.round(sound * 32767.0), -32768, 32767).astype(np.int16)
        wavfile.write(root / "aud.wav", SAMPLE_RATE, pcm)
        _write_whole(root / "bc.png", _png(background, PNG_LEVEL))
        units = {
            name: finite(np.asarray(values, np.float64), (frames,), name)
            for name, values in sorted((action_units or {}).items())
        }
        write_action_units(root / "au.csv", {**units, BLINK_COLUMN: closure * FULL_BLINK})
        held_out = set(range(max(1, round(frames * TRAIN_SHARE)), frames) if val is None else val)
        left_out = set(skip)
        train = [i for i in range(frames) if i not in held_out | left_out]
        audio_frames = np.arange(frames) if sound_frames is None else np.asarray(sound_frames, np.int64)
        if audio_frames.shape != (frames,) or (audio_frames < 0).any():
            raise InputError(f"sound_frames is {audio_frames.shape}, expected {frames} numbers from 0 on")
        held = sorted(held_out - left_out)
        for name, indices in (("train", train), ("val", held)):
            self._write_transforms(root / f"transforms_{name}.json", poses, audio_frames, indices, camera_moves)
        if torso_poses is not None:
            torso = finite(np.asarray(torso_poses, np.float32), (frames, 3, 4), "torso_poses")
            np.savez_compressed(root / "torso_params.npz", poses=torso)
        euler, trans = tracking_of_pose(poses)
        entries = {
            "id": torch.zeros(1, 100),
            "exp": torch.zeros(frames, 79),
            "euler": torch.from_numpy(euler.astype(np.float32)),
            "trans": torch.from_numpy(trans.astype(np.float32)),
            "focal": torch.tensor([float(self.focal)]),
        }
        if vertices is not None:
            cloud = finite(np.asarray(vertices, np.float32), (None, 3), "vertices")
            entries["vertices"] = torch.from_numpy(cloud)[None]
        buffer = io.BytesIO()  # torch's own writer hides a full disk behind an internal error
        torch.save(entries, buffer)
        _write_whole(root / LAST_FILE, buffer.getvalue())

    def _write_transforms(
        self,
        path: Path,
        poses: NDArray[Any],
        audio_frames: NDArray[np.int64],
        indices: Sequence[int],
        camera_moves: bool,
    ) -> None:
        frames = [
            {"img_id": i, "aud_id": int(audio_frames[i]), "transform_matrix": camera_to_world(poses[i]).tolist()}
            for i in indices
        ]
        document: dict[str, Any] = {
            "focal_len": float(self.focal),
            "cx": self.width / 2 if self.cx is None else float(self.cx),
            "cy": self.height / 2 if self.cy is None else float(self.cy),
            "frames": frames,
        }
        if camera_moves:
            document["camera_moves"] = True
        path.write_text(json.dumps(document))


def write_action_units(path: Path, columns: Mapping[str, NDArray[np.float64]], classic: bool = True) -> None:
    """Write `au.csv`: a row a frame of columns (T,); `classic` OpenFace has a space before all names but the first."""
    names = ["timestamp", "confidence", "success", *columns]
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["frame", *(f" {name}" if classic else name for name in names)])
        for index, row in enumerate(zip(*columns.values(), strict=True)):
            table.writerow([index + 1, f"{index / FPS:.3f}", "1.00", 1, *(f"{value:.4f}" for value in row)])


def _png(image: NDArray[np.uint8], compress_level: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=compress_level)
    return buffer.getvalue()


def _write_whole(path: Path, content: bytes) -> None:
    with whole_file(path) as partial:
        partial.write_bytes(content)


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
