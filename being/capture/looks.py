"""How every frame of a clip looks, very small: enough to see cuts, fades and other scenes by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from being.capture.video.reader import Footage

SIDE = 32  # cells of the longer side


@dataclass(frozen=True)
class Looks:
    """cells : uint8 (T, h, w, 3), each the mean colour of a part of the frame. scale : frame pixels a cell (x, y)."""

    cells: NDArray[np.uint8]
    scale: tuple[float, float]


class Watched:
    """Footage whose frames are remembered, very small, as they pass; iterated once."""

    def __init__(self, footage: Footage) -> None:
        self._footage = footage
        across = SIDE / max(footage.width, footage.height)
        self._size = max(4, round(footage.width * across)), max(4, round(footage.height * across))
        self._cells: list[NDArray[np.uint8]] = []

    def __len__(self) -> int:
        return len(self._footage)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        self._cells.clear()
        for frame in self._footage:
            self._cells.append(np.asarray(Image.fromarray(frame).resize(self._size, Image.Resampling.BOX)))
            yield frame

    @property
    def looks(self) -> Looks:
        """Of the frames that have passed."""
        scale = self._footage.width / self._size[0], self._footage.height / self._size[1]
        cells = np.stack(self._cells) if self._cells else np.zeros((0, *self._size[::-1], 3), np.uint8)
        return Looks(cells, scale)
