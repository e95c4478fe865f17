"""Drawing on a GPU at speed: numpy for the condition tokens, then one kernel to splats, gsplat, one kernel to planes.

Per batch, small copies to the GPU (8 KB a frame) and two back (2.5 bytes a pixel); rows of one size are drawn
together, whatever avatars they show. What the kernels do not do (RGB, depth, nothing behind the avatar, networks of
other shapes) is left to the plain twin, `torch_path`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from being.inference.backends import torch as torch_path
from being.inference.backends.gpu_planes import planes
from being.inference.compositing import Transparent
from being.inference.frames import Drive
from being.inference.items import RenderItem, by_avatar, by_size
from being.inference.renderable import BACKDROPS, RenderableAvatar
from being.inference.rendered_frame import RenderedFrame
from being.inference.tokens import TokenEncoder
from being.model.gpu.deformation import SplatRows, Splatter, fits
from being.raster.gsplat import draw_rows

ROWS = 16  # frames in flight: more gain nothing

Rasterizer = Callable[[SplatRows, Tensor, int, int], tuple[Tensor, Tensor]]


class GpuBackend:
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
        self._stages: WeakKeyDictionary[RenderableAvatar, _Stage | None] = WeakKeyDictionary()
        self._backdrops: OrderedDict[int, tuple[npt.NDArray[np.uint8], Tensor]] = OrderedDict()
        self._lock = threading.Lock()  # one GPU: taking turns costs nothing, and bounds the memory

    def prepare(self, performer: RenderableAvatar) -> None:
        """Pack the avatar's network, so that its first frames do not pay for it."""
        with self._lock:
            self._stage(performer)

    @torch.inference_mode()
    def draw(self, rows: Sequence[RenderItem]) -> list[RenderedFrame]:
        """Draw each row; rows may mix avatars and sizes."""
        drawn: dict[int, RenderedFrame] = {}
        with self._lock:
            ours = [index for index, row in enumerate(rows) if self._takes(row)]
            for same in by_size([rows[index] for index in ours]):
                for start in range(0, len(same), ROWS):
                    part = [ours[place] for place in same[start : start + ROWS]]
                    drawn.update(zip(part, self._planes([rows[index] for index in part]), strict=True))
            others = [index for index in range(len(rows)) if index not in drawn]
            if others:
                drawn.update(zip(others, torch_path.draw([rows[index] for index in others]), strict=True))
        return [drawn[index] for index in range(len(rows))]

    def _takes(self, row: RenderItem) -> bool:
        performer, drive = row
        planes = drive.yuv and not drive.depth and not isinstance(drive.background, Transparent)
        return planes and self._stage(performer) is not None

    def _planes(self, rows: Sequence[RenderItem]) -> list[RenderedFrame]:
        """RenderItems of one size, those of one avatar next to each other."""
        width, height = rows[0][0].frame_size(rows[0][1])
        splats = SplatRows(len(rows), max(performer.gaussians.count for performer, _ in rows), self.device)
        first = 0
        for performer, drives in by_avatar(rows):
            stage = self._stage(performer)
            assert stage is not None
            frames = self._buffer((len(drives), stage.splatter.frame_size), torch.float32)
            stage.fill(drives, frames.numpy())
            stage.splatter(frames.to(self.device, non_blocking=True), splats, first)
            first += len(drives)
        cameras = self._buffer((len(rows), 3, 3), torch.float32)
        cameras.numpy()[:] = [camera_matrix(*performer.intrinsics(width, height)) for performer, _ in rows]
        rgb, alpha = self._rasterize(splats, cameras.to(self.device, non_blocking=True), width, height)
        behind = [performer.backdrop(drive.background, width, height) for performer, drive in rows]
        kinds = {id(pixels): pixels for pixels in behind}
        which = self._buffer((len(rows),), torch.int32)
        which.numpy()[:] = [list(kinds).index(id(pixels)) for pixels in behind]
        backdrops = torch.stack([self._on_device(pixels) for pixels in kinds.values()])
        pictures, coverage = planes(rgb, alpha, backdrops, which.to(self.device, non_blocking=True))
        host = [self._buffer(tuple(part.shape), torch.uint8) for part in (pictures, coverage)]
        for there, here in zip((pictures, coverage), host, strict=True):
            here.copy_(there, non_blocking=True)
        if self._pinned:
            torch.cuda.current_stream(self.device).synchronize()
        return [RenderedFrame(*row, yuv=True) for row in zip(host[0].numpy(), host[1].numpy(), strict=True)]

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

    def _stage(self, performer: RenderableAvatar) -> _Stage | None:
        if performer not in self._stages:
            self._stages[performer] = _Stage(performer) if fits(performer.network.config) else None
        return self._stages[performer]


class _Stage:
    """One avatar laid out for drawing."""

    def __init__(self, performer: RenderableAvatar) -> None:
        self.splatter = Splatter(performer.network, performer.gaussians)
        self._encoder = TokenEncoder(performer.avatar.network)

    def fill(self, drives: Sequence[Drive], out: npt.NDArray[np.float32]) -> None:
        """Write what the kernel needs of these frames into out (B, frame_size)."""
        head = np.stack([drive.head_pose for drive in drives]).astype(np.float32, copy=False)
        torso = np.stack([drive.torso_pose for drive in drives]).astype(np.float32, copy=False)
        self.splatter.frames(self._encoder(drives), head, torso, out)


def try_out(device: torch.device) -> None:
    """Compile and run the smaller kernel; raises what Triton raises where it cannot."""
    empty = torch.zeros(1, 2, 2, 3, device=device)
    planes(empty, empty[..., 0], empty.to(torch.uint8), torch.zeros(1, dtype=torch.int32, device=device))
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def camera_matrix(fx: float, fy: float, cx: float, cy: float) -> list[list[float]]:
    """(3, 3) as the rasterizer takes it."""
    return [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]


def _with_gsplat(splats: SplatRows, cameras: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    view = torch.eye(4, device=cameras.device).expand(len(cameras), 4, 4)  # splats arrive in camera space
    blended, alpha, _ = draw_rows(*splats.parts, view, cameras, width, height)
    return blended, alpha
