"""The files of numbers beside the pictures, each read as if a stranger had sent it.

`track_params.pt` and `*.npy` can carry pickled code: they are opened with `weights_only=True` and `allow_pickle=False`,
and a file that needs more is refused by name. Every array is checked for shape and NaN before anybody computes with it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from being.dataset.pose import pose_of_tracking
from being.errors import FormatError

BLINK_COLUMN = "AU45_r"  # OpenFace writes it with a leading space in older versions
FULL_BLINK = 2.0  # AU45 intensity (0..5) at which the eye counts as shut
EXPRESSIONS = {"smile": ("AU06_r",), "brows_up": ("AU01_r", "AU02_r"), "frown": ("AU04_r",)}  # above the lips only
MOST_INTENSE = 5.0  # of an action unit
LEAST_SHOWN = 1.0  # intensity that an expression must reach in the footage to count as one
FARTHEST = 98  # percentile of a clip's intensities that is as far as the person goes
_HOSTILE = "The file may carry code that runs when it is opened; remake it from its source with the capture command"


@dataclass(frozen=True)
class Tracking:
    """What `track_params.pt` says: head poses (T, 3, 4) float32, focal in pixels, mesh vertices (V, 3) or None."""

    head_poses: NDArray[np.float32]
    focal: float
    vertices: NDArray[np.float32] | None


def require_file(path: Path, remedy: str) -> None:
    """Raise FormatError unless `path` is a file."""
    if not path.is_file():
        raise FormatError(f"{path} is missing", remedy)


def finite(array: NDArray[Any], shape: tuple[int | None, ...], what: str) -> NDArray[Any]:
    """`array` as it is, after checking its shape (None = any length) and that every number is finite."""
    if array.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True)):
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise FormatError(f"{what} has shape {array.shape}, expected {wanted}")
    if array.dtype.kind not in "fiub":
        raise FormatError(f"{what} holds {array.dtype}, expected numbers")
    bad = ~np.isfinite(array)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise FormatError(f"{what} is not finite at index {where}", "Track the video again or cut that frame out")
    return array


def read_tracking(path: Path) -> Tracking:
    """Read `track_params.pt`.

    Raises FormatError when the file is missing, hostile, lacks an entry, has wrong shapes, or holds NaN.
    """
    import torch

    require_file(path, "Capture the video again: it holds the head pose of every frame")
    try:
        entries = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise FormatError(f"{path} is not a plain dictionary of tensors ({type(error).__name__})", _HOSTILE) from error
    if not isinstance(entries, dict):
        raise FormatError(f"{path} holds a {type(entries).__name__}, expected a dictionary of tensors")

    def entry(name: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
        value = entries.get(name)
        if not isinstance(value, torch.Tensor):
            raise FormatError(f"{path} has no tensor `{name}`", "Capture the video again")
        return finite(value.detach().cpu().numpy(), shape, f"{path}, `{name}`")

    euler = entry("euler", (None, 3))
    trans = entry("trans", (len(euler), 3))
    focal = float(entry("focal", (None,)).reshape(-1)[0]) if "focal" in entries else 0.0
    if focal <= 0:
        raise FormatError(f"{path}, `focal` is {focal}, expected pixels > 0")
    behind = np.flatnonzero(trans[:, 2] >= 0)
    if len(behind):
        raise FormatError(f"{path}, `trans` puts the head behind the camera in frame {behind[0]}", "z must be below 0")
    vertices = None
    if "vertices" in entries:
        value = entries["vertices"]
        cloud = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.empty(0)
        cloud = cloud[None] if cloud.ndim == 2 else cloud
        vertices = finite(cloud, (None, None, 3), f"{path}, `vertices`")[0].astype(np.float32)
    return Tracking(pose_of_tracking(euler, trans), focal, vertices)


def read_torso_poses(path: Path, frames: int) -> NDArray[np.float32] | None:
    """Torso poses (T, 3, 4) of `torso_params.npz`, or None where the folder has none (published folders)."""
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if "poses" not in arrays:
                raise FormatError(f"{path} has no array `poses`", "Write it with DatasetWriter")
            poses = arrays["poses"]
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f"{path} is not a plain archive of arrays ({type(error).__name__})", _HOSTILE) from error
    return finite(poses, (frames, 3, 4), f"{path}, `poses`").astype(np.float32)


def read_array(path: Path, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """A `.npy` file (features, depth...) of a known shape; pickled objects are refused."""
    require_file(path, "Make the file again, or choose a feature that needs no file")
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:
        raise FormatError(f"{path} is not a plain array ({type(error).__name__})", _HOSTILE) from error
    if not isinstance(array, np.ndarray):
        raise FormatError(f"{path} is an archive, expected one array")
    return finite(array, shape, str(path))


def closure_of(units: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float32]:
    """Eye closure (T,) in [0, 1] from action units: clip(AU45, 0, 2) / 2."""
    return (np.clip(units[BLINK_COLUMN], 0.0, FULL_BLINK) / FULL_BLINK).astype(np.float32)


def shown_by(units: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """What the face above the lips shows, intensities (T,) in [0, 5] by expression; without those that lack a unit."""
    return {
        name: np.clip(np.mean([units[one] for one in needed], axis=0), 0, MOST_INTENSE)
        for name, needed in EXPRESSIONS.items()
        if all(one in units for one in needed)
    }


def expressions_of(units: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float32]]:
    """The same in [0, 1], 1 being as far as this person went; what is never shown is left out."""
    found = {}
    for name, intensity in shown_by(units).items():
        farthest = float(np.percentile(intensity, FARTHEST))
        if farthest >= LEAST_SHOWN:
            found[name] = np.clip(intensity / farthest, 0, 1).astype(np.float32)
    return found


def read_action_units(path: Path) -> dict[str, NDArray[np.float64]]:
    """Intensities (R,) of the R rows of `au.csv` by OpenFace's column: the blink's, which must be there, and the
    expressions'."""
    require_file(path, f"It holds the blink of every frame in a column {BLINK_COLUMN!r}")
    try:
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FormatError(f"{path} is not a CSV table ({error})") from error
    header = [name.strip() for name in rows[0]] if rows else []
    if BLINK_COLUMN not in header:
        raise FormatError(f"{path} has no column {BLINK_COLUMN!r}", "Run OpenFace with -aus, or capture again")
    rows = [row for row in rows[1:] if row]
    found = {}
    for name in (BLINK_COLUMN, *chain.from_iterable(EXPRESSIONS.values())):
        if name not in header:
            continue
        column = header.index(name)
        try:
            values = np.array([float(row[column]) for row in rows])
        except (ValueError, IndexError) as error:
            raise FormatError(f"{path}, column {name!r} is not all numbers ({error})") from error
        found[name] = finite(values, (None,), f"{path}, column {name!r}")
    return found


def read_landmarks(path: Path) -> NDArray[np.float32]:
    """68 iBUG landmarks (68, 2) in pixels from a `.lms` text file, one "x y" a line."""
    require_file(path, "Capture the video again: every frame needs its 68 landmarks")
    try:
        points = np.array(
            [[float(word) for word in line.split()] for line in path.read_text().splitlines() if line.strip()]
        )
    except (ValueError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} is not 68 lines of two numbers ({error})") from error
    return finite(points, (68, 2), str(path)).astype(np.float32)


@dataclass(frozen=True)
class Transforms:
    """What one transforms_*.json says: frame numbers, the sound window of each, the principal point in pixels.

    camera_moves : whether the camera did not stand still; published folders never say so.
    """

    frames: tuple[int, ...]
    sound: tuple[int, ...]
    centre: tuple[float, float]
    camera_moves: bool = False


def read_transforms(path: Path) -> Transforms | None:
    """Read transforms_train.json or transforms_val.json; None where it does not exist."""
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_text())
        frames = tuple(int(frame["img_id"]) for frame in document["frames"])
        sound = tuple(int(frame.get("aud_id", frame["img_id"])) for frame in document["frames"])
        centre = (float(document["cx"]), float(document["cy"]))
        camera_moves = document.get("camera_moves") is True
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise FormatError(f"{path} is not a transforms file ({type(error).__name__}: {error})") from error
    if not np.isfinite(centre).all():
        raise FormatError(f"{path}: cx, cy are not finite")
    return Transforms(frames, sound, centre, camera_moves)
