"""Recorded motion of an avatar: head and torso poses, blinks, expressions, and whether the person was talking."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from being.errors import FormatError

FloatArray = npt.NDArray[np.float32]

MAX_FRAMES = 25 * 3600  # an hour of recorded motion is more than any avatar needs
ROTATION_TOLERANCE = 1e-3  # of R Rᵀ - I, largest entry


@dataclass(frozen=True)
class Motion:
    """Poses of T consecutive frames at the avatar's frame rate.

    head_pose, torso_pose: (T, 3, 4) float32 [R|t], canonical space to OpenCV camera, decimetres.
    eye: (T,) float32 closure in [0, 1]: 0 open, 1 shut. talking: (T,) bool.
    emotion: (T, E) float32 in [0, 1], a column for each emotion state of the network; (T, 0) where there are none.
    """

    head_pose: FloatArray
    torso_pose: FloatArray
    eye: FloatArray
    talking: npt.NDArray[np.bool_]
    emotion: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def __post_init__(self) -> None:
        if not self.emotion.size:
            object.__setattr__(self, "emotion", np.zeros((len(self.eye), 0), np.float32))

    def __len__(self) -> int:
        return len(self.eye)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays as they stand in `motion.npz`."""
        arrays: dict[str, np.ndarray] = {
            "head_pose": np.asarray(self.head_pose, np.float32),
            "torso_pose": np.asarray(self.torso_pose, np.float32),
            "eye": np.asarray(self.eye, np.float32),
            "talking": np.asarray(self.talking, np.bool_),
        }
        if self.emotion.size:
            arrays["emotion"] = np.asarray(self.emotion, np.float32)
        return arrays


def check_motion(arrays: dict[str, Any], where: str, states: int = 0) -> Motion:
    """Motion from named arrays, every one checked; `emotion` may be missing: then nothing was recorded of the states.

    Raises
    ------
    FormatError
        Naming the array that is missing, of the wrong shape or type, not finite, or not a rotation.
    """
    for name in ("head_pose", "torso_pose", "eye", "talking"):
        if name not in arrays:
            raise FormatError(f"{where}: array {name} is missing")
    frames = len(np.atleast_1d(arrays["eye"]))
    if not 2 <= frames <= MAX_FRAMES:
        raise FormatError(f"{where}: eye has {frames} frames, expected 2 to {MAX_FRAMES}")
    arrays = {"emotion": np.zeros((frames, states), np.float32), **arrays}
    shapes = {
        "head_pose": (frames, 3, 4),
        "torso_pose": (frames, 3, 4),
        "eye": (frames,),
        "talking": (frames,),
        "emotion": (frames, states),
    }
    for name, shape in shapes.items():
        array = arrays[name]
        if array.shape != shape:
            raise FormatError(f"{where}: {name} has shape {array.shape}, expected {shape}")
        kinds = "b" if name == "talking" else "f"
        if array.dtype.kind not in kinds:
            raise FormatError(f"{where}: {name} has type {array.dtype}, expected kind {kinds!r}")
        if not np.isfinite(array).all():
            raise FormatError(f"{where}: {name} holds NaN or infinity at frame {_first_bad_frame(array)}")
    for name in ("head_pose", "torso_pose"):
        rotation = np.asarray(arrays[name][:, :, :3], np.float64)
        error = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
        bad = (error > ROTATION_TOLERANCE) | (np.linalg.det(rotation) < 0)
        if bad.any():
            raise FormatError(f"{where}: {name} is not a rotation at frame {int(np.argmax(bad))}")
    for name in ("eye", "emotion"):
        array = arrays[name]
        if array.size and (array.min() < -1e-3 or array.max() > 1 + 1e-3):
            raise FormatError(f"{where}: {name} ranges over {array.min():.3g} to {array.max():.3g}, expected 0 to 1")
    return Motion(
        head_pose=np.asarray(arrays["head_pose"], np.float32),
        torso_pose=np.asarray(arrays["torso_pose"], np.float32),
        eye=np.clip(np.asarray(arrays["eye"], np.float32), 0, 1),
        talking=np.asarray(arrays["talking"], np.bool_),
        emotion=np.clip(np.asarray(arrays["emotion"], np.float32), 0, 1),
    )


def _first_bad_frame(array: np.ndarray) -> int:
    finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
    return int(np.argmin(finite))
