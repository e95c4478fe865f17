"""What every refiner is: face crops of any people and sessions in, the same crops made photographic out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from zlib import crc32

import numpy as np
import numpy.typing as npt
from torch import Tensor

from being.inference.frames import Extras


@dataclass(frozen=True, eq=False)
class Conditions:
    """What the renderer knows of N crops beside their colours, on the device.

    Attributes
    ----------
    alpha : (N, 1, S, S) float32 coverage in [0, 1].
    depth : (N, 1, S, S) float32 mean distance in decimetres, 0 where nothing is; None unless `Refiner.needs` has DEPTH.
    """

    alpha: Tensor
    depth: Tensor | None = None


@dataclass(frozen=True, eq=False)
class CropRows:
    """Whose crops these are, by column of N crops; in host memory.

    Attributes
    ----------
    avatars, sessions : (N,) ids.
    generations, indices : (N,) int64, of the frames.
    head_poses : (N, 3, 4) float32, canonical space to OpenCV camera, decimetres.
    windows : (N, 4) float32 x0, y0, x1, y1: the square of the frame that the crop shows, in the frame's pixels. Where
        its side is not S, the crop was resampled.
    frame_size : width and height of the frames.
    strengths : (N,) float32 in (0, 1], how much each is to be changed.
    seeds : (N,) int64, the same for all frames of an avatar in every session: where noise starts from.
    """

    avatars: tuple[str, ...]
    sessions: tuple[str, ...]
    generations: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]
    head_poses: npt.NDArray[np.float32]
    windows: npt.NDArray[np.float32]
    frame_size: tuple[int, int]
    strengths: npt.NDArray[np.float32]
    seeds: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.avatars)

    def take(self, rows: Sequence[int]) -> CropRows:
        """The columns of these crops, in this order."""
        at = list(rows)
        return CropRows(
            tuple(self.avatars[row] for row in at),
            tuple(self.sessions[row] for row in at),
            self.generations[at],
            self.indices[at],
            self.head_poses[at],
            self.windows[at],
            self.frame_size,
            self.strengths[at],
            self.seeds[at],
        )


def seed_of(avatar: str) -> int:
    """Where the noise of an avatar's crops starts from, see `CropRows`."""
    return crc32(avatar.encode())


class Refiner(Protocol):
    """A network that makes crops photographic.

    A pure function of its rows: no row may depend on another, on what was refined before, or on the order; caches only
    save time. Called by one thread at a time under `torch.inference_mode`, with all crops of one size together.

    Attributes
    ----------
    needs : DEPTH where conditions must hold it, else NONE.
    sizes : sides S of the crops it takes, pixels, ascending. A face is cut out at the smallest that holds it, without
        resampling; one that fits none of them is resampled.
    fade : strength from which on the result replaces the render; below, the stage blends the two in proportion. 1 for a
        refiner that answers the same at every strength, small for one whose answer goes by the row's strength itself.
    """

    needs: Extras
    sizes: tuple[int, ...]
    fade: float

    def prepare(self, avatar: str) -> None:
        """Load what an avatar needs, before its first frame; nothing where it is loaded already."""
        ...

    def forget(self, avatar: str) -> None:
        """Let go of what was loaded for an avatar, until it is prepared again."""
        ...

    def knows(self, avatar: str) -> bool:
        """Whether an avatar's frames can be refined; those of others pass as they are, at no cost."""
        ...

    def refine(self, crops: Tensor, conditions: Conditions, rows: CropRows) -> Tensor:
        """Crops (N, 3, S, S) float32 in [0, 1], RGB over their backgrounds -> (N, 3, S, S) float32.

        Values outside [0, 1] are cut where they leave the device. The answer may be the refiner's own memory: it is
        read before the next call.
        """
        ...
