"""Drawing on a GPU at speed: numpy for the condition tokens, then one kernel to splats, gsplat, one kernel to planes.

Per batch, one small copy to the GPU (8 KB a frame) and two back (2.5 bytes a pixel); rows of one size are drawn
together, whatever avatars they show. What the kernels do not do (RGB, depth, nothing behind the avatar, networks of
other shapes) is left to the plain twin, `torch_path`.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, groupby
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from being.inference import torch_path
from being.inference.compositing import Transparent
from being.inference.drawn import Drawn
from being.inference.performer import BACKDROPS, Performer
from being.inference.records import Drive
from being.inference.tokens import TokenEncoder
from being.inference.triton_planes import planes
from being.model.triton_deform import SplatRows, Splatter, fits
from being.raster.gsplat_backend import draw_rows

ROWS = 16  # frames in flight: more gain nothing

Row = tuple[Performer, Drive]
Rasterizer = Callable[[SplatRows, Tensor, int, int], tuple[Tensor, Tensor]]
T = TypeVar("T")


class GpuPath:
    """Draws rows on one GPU.

    Parameters
    ----------
    device : the GPU.
    rasterizer : (splats, camera matrices (R, 3, 3), width, height) -> premultiplied (R, H, W, 3) and alpha (R, H, W).
    """

    def __init__(self, device: torch.device, rasterizer: Rasterizer | None = None) -> None:
        self.device = device
        self._rasterize = rasterizer or _with_gsplat
        self._pinned = device.type == "cuda"
        self._stages: WeakKeyDictionary[Performer, _Stage | None] = WeakKeyDictionary()
        self._backdrops: OrderedDict[int, tuple[npt.NDArray[np.uint8], Tensor]] = OrderedDict()
        self._lock = threading.Lock()  # one GPU: taking turns costs nothing, and bounds the memory

    def prepare(self, performer: Performer) -> None:
        """Pack the avatar's network, so that its first frames do not pay for it."""
        with self._lock:
            self._stage(performer)

    @torch.inference_mode()
    def draw(self, rows: Sequence[Row], finish: Callable[[Row, Drawn], T]) -> list[T]:
        """What `finish` makes of each row's frame; rows may mix avatars and sizes.

        While the GPU draws some rows, the processor prepares the next and finishes the last.
        """
        done: dict[int, T] = {}
        under_way: _Launched | None = None

        def collect() -> None:
            if under_way is not None:
                for index, frame in zip(under_way.indices, under_way.frames(), strict=True):
                    done[index] = finish(rows[index], frame)

        with self._lock:
            plain = [index for index, row in enumerate(rows) if not self._takes(row)]
            for indices in _parts(rows, set(range(len(rows))) - set(plain)):
                launched = self._launch(rows, indices)
                collect()
                under_way = launched
            collect()
            if plain:
                frames = torch_path.draw([rows[index] for index in plain])
                done.update((index, finish(rows[index], frame)) for index, frame in zip(plain, frames, strict=True))
        return [done[index] for index in range(len(rows))]

    def _takes(self, row: Row) -> bool:
        performer, drive = row
        planes = drive.yuv and not drive.depth and not isinstance(drive.background, Transparent)
        return planes and self._stage(performer) is not None

    def _launch(self, rows: Sequence[Row], indices: Sequence[int]) -> _Launched:
        """Set the GPU to work on rows of one size, those of one avatar next to each other."""
        mine = [rows[index] for index in indices]
        width, height = mine[0][0].frame_size(mine[0][1])
        runs = [(performer, [drive for _, drive in run]) for performer, run in groupby(mine, key=lambda row: row[0])]
        behind = [performer.backdrop(drive.background, width, height) for performer, drive in mine]
        kinds = {id(pixels): pixels for pixels in behind}
        places = {kind: place for place, kind in enumerate(kinds)}

        given = _Parcel(self._buffer)
        for performer, drives in runs:
            stage = self._stage(performer)
            assert stage is not None
            given.add((len(drives), stage.splatter.frame_size), partial(stage.fill, drives))
        given.add((len(mine), 3, 3), lambda out: _fill(out, [camera(p, width, height) for p, _ in mine]))
        given.add((len(mine),), lambda out: _fill(out, [places[id(pixels)] for pixels in behind]))
        *frames, cameras, which = given.sent(self.device)

        splats = SplatRows(len(mine), max(performer.gaussians.count for performer, _ in runs), self.device)
        first = 0
        for (performer, drives), frame in zip(runs, frames, strict=True):
            stage = self._stage(performer)
            assert stage is not None
            stage.splatter(frame, splats, first)
            first += len(drives)
        rgb, alpha = self._rasterize(splats, cameras, width, height)
        backdrops = torch.stack([self._on_device(pixels) for pixels in kinds.values()])
        host = []
        for part in planes(rgb, alpha, backdrops, which):
            host.append(self._buffer(tuple(part.shape), torch.uint8))
            host[-1].copy_(part, non_blocking=True)
        over = None
        if self._pinned:
            over = torch.cuda.Event()
            over.record()
        return _Launched(indices, host[0], host[1], over)

    def _buffer(self, shape: tuple[int, ...], kind: torch.dtype) -> Tensor:
        """Main memory that the GPU reads and writes at full speed; PyTorch uses it again when the last view is gone."""
        return torch.empty(shape, dtype=kind, pin_memory=self._pinned)

    def _on_device(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """The backdrop on the GPU; performers hand out the same array for every frame."""
        kept = self._backdrops.get(id(pixels))
        if kept is None:
            kept = pixels, torch.tensor(pixels, device=self.device)  # holds the array, or its id might come again
            self._backdrops[id(pixels)] = kept
            while len(self._backdrops) > BACKDROPS:
                self._backdrops.popitem(last=False)
        return kept[1]

    def _stage(self, performer: Performer) -> _Stage | None:
        if performer not in self._stages:
            self._stages[performer] = _Stage(performer) if fits(performer.network.config) else None
        return self._stages[performer]


class _Stage:
    """One avatar laid out for drawing."""

    def __init__(self, performer: Performer) -> None:
        self.splatter = Splatter(performer.network, performer.gaussians)
        self._encoder = TokenEncoder(performer.avatar.network)

    def fill(self, drives: Sequence[Drive], out: npt.NDArray[np.float32]) -> None:
        """Write what the kernel needs of these frames into out (B, frame_size)."""
        head = np.stack([drive.head_pose for drive in drives]).astype(np.float32, copy=False)
        torso = np.stack([drive.torso_pose for drive in drives]).astype(np.float32, copy=False)
        self.splatter.frames(self._encoder(drives), head, torso, out)


class _Parcel:
    """Arrays that go to the GPU in one copy."""

    def __init__(self, buffer: Callable[[tuple[int, ...], torch.dtype], Tensor]) -> None:
        self._buffer = buffer
        self._parts: list[tuple[tuple[int, ...], Callable[[npt.NDArray[np.float32]], None]]] = []

    def add(self, shape: tuple[int, ...], fill: Callable[[npt.NDArray[np.float32]], None]) -> None:
        """An array of that shape, which `fill` writes."""
        self._parts.append((shape, fill))

    def sent(self, device: torch.device) -> list[Tensor]:
        """The arrays on the device, each at an address that is a multiple of 64 bytes."""
        sizes = [math.prod(shape) for shape, _ in self._parts]
        starts = list(accumulate((-(-size // 16) * 16 for size in sizes), initial=0))
        host = self._buffer((starts[-1],), torch.float32)
        for (shape, fill), start, size in zip(self._parts, starts, sizes, strict=False):
            fill(host.numpy()[start : start + size].reshape(shape))
        there = host.to(device, non_blocking=True)
        return [
            there[start : start + size].view(shape)
            for (shape, _), start, size in zip(self._parts, starts, sizes, strict=False)
        ]


@dataclass(frozen=True)
class _Launched:
    """Rows that the GPU works on, and where their planes and coverage will be."""

    indices: Sequence[int]
    planes: Tensor
    coverage: Tensor
    over: torch.cuda.Event | None

    def frames(self) -> list[Drawn]:
        """Wait for them."""
        if self.over is not None:
            self.over.synchronize()
        pairs = zip(self.planes.numpy(), self.coverage.numpy(), strict=True)
        return [Drawn(planes, coverage, yuv=True) for planes, coverage in pairs]


def _parts(rows: Sequence[Row], indices: set[int]) -> Iterator[list[int]]:
    """The indices by picture size, rows of one avatar next to each other, at most ROWS together."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for index in sorted(indices, key=lambda index: id(rows[index][0])):
        performer, drive = rows[index]
        by_size.setdefault(performer.frame_size(drive), []).append(index)
    for same in by_size.values():
        for start in range(0, len(same), ROWS):
            yield same[start : start + ROWS]


def camera(performer: Performer, width: int, height: int) -> list[list[float]]:
    """The camera's matrix (3, 3) for frames of that size."""
    fx, fy, cx, cy = performer.intrinsics(width, height)
    return [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]


def _fill(out: npt.NDArray[np.float32], values: Sequence[object]) -> None:
    out[:] = values


def _with_gsplat(splats: SplatRows, cameras: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    view = torch.eye(4, device=cameras.device).expand(len(cameras), 4, 4)  # splats arrive in camera space
    blended, alpha, _ = draw_rows(*splats.parts, view, cameras, width, height)
    return blended, alpha
