"""The talking-portrait folder, written, so that published trainers can read it too.

`frame` may be called from several processes (it only touches that frame's files); `finish` writes the numbers, and
`track_params.pt` last of all, so that a folder whose writing was cut short is refused by the reader.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from being.dataset.folder import FPS, SAMPLE_RATE, TRAIN_SHARE
from being.dataset.parsing import colours_of_labels
from being.dataset.pose import camera_to_world, tracking_of_pose
from being.dataset.tracking import FULL_BLINK, finite
from being.errors import InputError

JPEG_QUALITY = 95


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

    def prepare(self) -> DatasetWriter:
        """Make the folders. Raises InputError when a finished dataset is already there or the place is not writable."""
        root = Path(self.path)
        if (root / "track_params.pt").exists():
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
    ) -> None:
        """Write the files of one frame.

        Parameters
        ----------
        image : RGB (H, W, 3). parsing : labels (H, W), see `being.dataset.parsing`. landmarks : (68, 2) pixels.
        torso : RGBA (H, W, 4) torso and neck without the head, for published trainers.
        composited : RGB over the clean plate; None when `image` already is (the plate is what was filmed).
        """
        root = Path(self.path)
        size = (self.height, self.width)
        if image.shape != (*size, 3) or image.dtype != np.uint8:
            raise InputError(f"frame {index}: image is {image.dtype} {image.shape}, expected uint8 {(*size, 3)}")
        if parsing.shape != size or parsing.max(initial=0) > 3:
            raise InputError(f"frame {index}: parsing is {parsing.shape}, expected labels 0..3 of shape {size}")
        points = finite(np.asarray(landmarks, np.float64), (68, 2), f"frame {index}: landmarks")
        filmed = root / "ori_imgs" / f"{index}.jpg"
        _save_jpeg(image, filmed)
        plate = root / "gt_imgs" / f"{index}.jpg"
        if composited is None:
            _link(filmed, plate)
        else:
            _save_jpeg(composited, plate)
        Image.fromarray(colours_of_labels(parsing)).save(root / "parsing" / f"{index}.png", compress_level=4)
        lines = "".join(f"{x:.3f} {y:.3f}\n" for x, y in points)
        (root / "ori_imgs" / f"{index}.lms").write_text(lines)
        if torso is not None:
            (root / "torso_imgs").mkdir(exist_ok=True)
            Image.fromarray(torso).save(root / "torso_imgs" / f"{index}.png", compress_level=4)

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
    ) -> None:
        """Write sound, plate, poses, blinks and split.

        Parameters
        ----------
        audio : float (S,) in [-1, 1] at 16 kHz. background : RGB (H, W, 3). head_poses, torso_poses : (T, 3, 4).
        eyes : (T,) closure in [0, 1]. val : held-out frame numbers, default the last 1/11. vertices : (V, 3) canonical.
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
        _save_jpeg(background, root / "bc.jpg", quality=98)
        self._write_blinks(root / "au.csv", closure)
        held_out = set(range(max(1, round(frames * TRAIN_SHARE)), frames) if val is None else val)
        self._write_transforms(root / "transforms_train.json", poses, [i for i in range(frames) if i not in held_out])
        self._write_transforms(root / "transforms_val.json", poses, sorted(held_out))
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
        partial = root / "track_params.pt.partial"
        torch.save(entries, partial)
        os.replace(partial, root / "track_params.pt")

    @staticmethod
    def _write_blinks(path: Path, closure: NDArray[np.float64]) -> None:
        with path.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["frame", " timestamp", " confidence", " success", " AU45_r"])
            for index, value in enumerate(closure):
                table.writerow([index + 1, f"{index / FPS:.3f}", "1.00", 1, f"{value * FULL_BLINK:.4f}"])

    def _write_transforms(self, path: Path, poses: NDArray[Any], indices: Sequence[int]) -> None:
        frames = [{"img_id": i, "aud_id": i, "transform_matrix": camera_to_world(poses[i]).tolist()} for i in indices]
        document = {
            "focal_len": float(self.focal),
            "cx": self.width / 2 if self.cx is None else float(self.cx),
            "cy": self.height / 2 if self.cy is None else float(self.cy),
            "frames": frames,
        }
        path.write_text(json.dumps(document))


def _save_jpeg(image: NDArray[np.uint8], path: Path, quality: int = JPEG_QUALITY) -> None:
    # 4:4:4: lips are a few pixels of saturated colour, which subsampled chroma would smear over the skin
    Image.fromarray(image).save(path, quality=quality, subsampling=0)


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
