"""Drawing on a GPU at speed: numpy for the condition tokens, then one kernel to splats, gsplat, one kernel to planes.

Per batch, small copies to the GPU (8 KB a frame) and one or two back (1.5 bytes a pixel, 1 more where coverage is
wanted); frames of one size are drawn together, whatever avatars they show. Networks of other shapes than the kernel's
are left to the plain twin, `TorchBackend`.
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

from being.inference.backends.gpu_planes import planes
from being.inference.backends.torch import TorchBackend, mean_depth
from being.inference.compositing import Transparent
from being.inference.frame_batch import FrameBatch
from being.inference.frames import Drive, Extras, PixelFormat
from being.inference.items import RenderItem, by_avatar, unique_backdrops
from being.inference.output import to_output
from being.inference.renderable import BACKDROPS, RenderableAvatar
from being.inference.rendered import FrameInfo
from being.inference.tokens import TokenEncoder
from being.model.gpu.deformation import SplatRows, Splatter, fits
from being.raster.gsplat import draw_rows

# (splats, camera matrices (B, 3, 3), width, height, depth too)
# -> premultiplied (B, H, W, 3), alpha (B, H, W), depth (B, H, W) weighed by coverage or None
Rasterizer = Callable[[SplatRows, Tensor, int, int, bool], tuple[Tensor, Tensor, Tensor | None]]


class GpuBackend:
    """Draws on one GPU.

    Parameters
    ----------
    device : the GPU.
    rasterizer : gsplat, unless a test brings another.
    """

    max_items = 16  # frames in flight: more gain nothing

    def __init__(self, device: torch.device, rasterizer: Rasterizer | None = None) -> None:
        self.device = device
        self._rasterize = rasterizer or _with_gsplat
        self._plain = TorchBackend()
        self._pinned = device.type == "cuda"
        self._prepared: WeakKeyDictionary[RenderableAvatar, _Prepared | None] = WeakKeyDictionary()
        self._backdrops: OrderedDict[int, tuple[npt.NDArray[np.uint8], Tensor]] = OrderedDict()
        self._lock = threading.Lock()  # one GPU: taking turns costs nothing, and bounds the memory

    def prepare(self, renderable: RenderableAvatar) -> None:
        """Pack the avatar's network, so that its first frames do not pay for it."""
        with self._lock:
            self._prepare(renderable)

    @torch.inference_mode()
    def render(self, items: Sequence[RenderItem], pixel_format: PixelFormat | None = None) -> FrameBatch:
        """See `RenderBackend`; what stages get is PREMULTIPLIED."""
        with self._lock:
            ours = [index for index, (renderable, _) in enumerate(items) if self._prepare(renderable) is not None]
            others = [index for index in range(len(items)) if index not in set(ours)]
            parts = [
                draw([items[index] for index in part])
                for draw, part in ((self._raster, ours), (self._plain.render, others))
                if part
            ]
            batch = parts[0] if len(parts) == 1 else parts[0].joined(parts[1])
            order = [*ours, *others]
            batch = batch.take([order.index(index) for index in range(len(items))])
            return batch if pixel_format is None else to_output(batch, pixel_format, planes)

    def _raster(self, items: Sequence[RenderItem]) -> FrameBatch:
        width, height = items[0][0].frame_size(items[0][1])
        splats = SplatRows(len(items), max(renderable.gaussians.count for renderable, _ in items), self.device)
        first = 0
        for renderable, drives in by_avatar(items):
            prepared = self._prepare(renderable)
            assert prepared is not None
            frames = self._buffer((len(drives), prepared.splatter.frame_size), torch.float32)
            prepared.fill(drives, frames.numpy())
            prepared.splatter(frames.to(self.device, non_blocking=True), splats, first)
            first += len(drives)
        cameras = self._buffer((len(items), 3, 3), torch.float32)
        cameras.numpy()[:] = [camera_matrix(*renderable.intrinsics(width, height)) for renderable, _ in items]
        wants_depth = Extras.DEPTH in items[0][1].extras
        rgb, alpha, depth = self._rasterize(
            splats, cameras.to(self.device, non_blocking=True), width, height, wants_depth
        )
        behind, which = unique_backdrops(items, width, height)
        backdrop_of = self._buffer((len(items),), torch.int32)
        backdrop_of.numpy()[:] = which
        drives = [drive for _, drive in items]
        return FrameBatch(
            info=FrameInfo.of(drives),
            pixels=rgb,
            alpha=alpha,
            pixel_format=PixelFormat.PREMULTIPLIED,
            backdrops=torch.stack([self._on_device(pixels) for pixels in behind]),
            backdrop_of=backdrop_of.to(self.device, non_blocking=True),
            clear=np.array([isinstance(drive.background, Transparent) for drive in drives]),
            depth=None if depth is None else mean_depth(depth, alpha),
        )

    def _buffer(self, shape: tuple[int, ...], kind: torch.dtype) -> Tensor:
        """Main memory that the GPU reads and writes at full speed; PyTorch uses it again when the last view is gone."""
        return torch.empty(shape, dtype=kind, pin_memory=self._pinned)

    def _on_device(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """The backdrop on the GPU; avatars hand out the same array for every frame."""
        kept = self._backdrops.get(id(pixels))
        if kept is None:
            kept = pixels, torch.tensor(pixels, device=self.device)  # holds the array, or its id might come again
            self._backdrops[id(pixels)] = kept
            while len(self._backdrops) > BACKDROPS:
                self._backdrops.popitem(last=False)
        return kept[1]

    def _prepare(self, renderable: RenderableAvatar) -> _Prepared | None:
        """None where the kernel cannot run the network."""
        if renderable not in self._prepared:
            self._prepared[renderable] = _Prepared(renderable) if fits(renderable.network.config) else None
        return self._prepared[renderable]


class _Prepared:
    """One avatar laid out for drawing."""

    def __init__(self, renderable: RenderableAvatar) -> None:
        self.splatter = Splatter(renderable.network, renderable.gaussians)
        self._encoder = TokenEncoder(renderable.avatar.network)

    def fill(self, drives: Sequence[Drive], out: npt.NDArray[np.float32]) -> None:
        """Write what the kernel needs of these frames into out (B, frame_size)."""
        head = np.stack([drive.head_pose for drive in drives]).astype(np.float32, copy=False)
        torso = np.stack([drive.torso_pose for drive in drives]).astype(np.float32, copy=False)
        self.splatter.frames(self._encoder(drives), head, torso, out)


def camera_matrix(fx: float, fy: float, cx: float, cy: float) -> list[list[float]]:
    """(3, 3) as the rasterizer takes it."""
    return [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]


def _with_gsplat(
    splats: SplatRows, cameras: Tensor, width: int, height: int, depth: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    view = torch.eye(4, device=cameras.device).expand(len(cameras), 4, 4)  # splats arrive in camera space
    blended, alpha, _ = draw_rows(*splats.parts, view, cameras, width, height, depth=depth)
    return blended[..., :3], alpha, blended[..., 3] if depth else None
