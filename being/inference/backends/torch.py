"""Drawing in PyTorch: the readable twin of the kernels, on any device. One size is rasterized in one call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from being.inference.compositing import Transparent
from being.inference.frame_batch import FrameBatch
from being.inference.frames import Drive, Extras, PixelFormat
from being.inference.items import RenderItem, by_avatar, unique_backdrops
from being.inference.output import to_output
from being.inference.renderable import RenderableAvatar
from being.inference.rendered import FrameInfo
from being.model.deformation import assemble
from being.raster import Cameras, Splats, rasterize
from being.raster.contract import scaled_low_pass


class TorchBackend:
    """The plain network and a rasterizer.

    Parameters
    ----------
    rasterizer : as `being.raster.rasterize` names them.
    """

    batch_sizes: Sequence[int] = (1, 2)
    max_items = 8  # 20k Gaussians take about 60 MB each on the way

    def __init__(self, rasterizer: str = "auto") -> None:
        self._rasterizer = rasterizer

    def prepare(self, renderable: RenderableAvatar) -> None:
        """There is nothing to fit."""

    @torch.inference_mode()
    def render(self, items: Sequence[RenderItem], pixel_format: PixelFormat | None = None) -> FrameBatch:
        """See `RenderBackend`."""
        device = items[0][0].device
        width, height = items[0][0].frame_size(items[0][1])
        drives = [drive for _, drive in items]
        parts = [_splats(renderable, own) for renderable, own in by_avatar(items)]
        intrinsics = torch.tensor([renderable.intrinsics(width, height) for renderable, _ in items], device=device)
        view = torch.eye(3, 4, device=device).expand(len(items), 3, 4)
        filters = [renderable.low_pass(width, height) for renderable, _ in items]
        as_trained = all(one == scaled_low_pass(1.0) for one in filters)
        low_pass = None if as_trained else torch.tensor(filters, dtype=torch.float64)
        cameras = Cameras(view, intrinsics, width, height, low_pass)
        raster = rasterize(_joined(parts), cameras, backend=self._rasterizer)
        backdrops, backdrop_of = unique_backdrops(items, width, height)
        batch = FrameBatch(
            info=FrameInfo.of(drives),
            pixels=raster.rgb,
            alpha=raster.alpha,
            pixel_format=PixelFormat.PREMULTIPLIED,
            backdrops=torch.from_numpy(np.stack(backdrops)).to(device),
            backdrop_of=torch.from_numpy(backdrop_of).to(device),
            clear=np.array([isinstance(drive.background, Transparent) for drive in drives]),
            depth=mean_depth(raster.depth, raster.alpha) if Extras.DEPTH in drives[0].extras else None,
        )
        return batch if pixel_format is None else to_output(batch, pixel_format)


def mean_depth(blended: Tensor, alpha: Tensor) -> Tensor:
    """Depth weighed by coverage to mean depth; 0 where nothing is."""
    return torch.where(alpha > 0, blended / alpha, 0.0)


def _splats(renderable: RenderableAvatar, drives: Sequence[Drive]) -> Splats:
    """What one avatar looks like in several frames, in camera space."""
    gaussians = renderable.gaussians
    offsets = renderable.network.offsets(renderable.features, renderable.tokens(drives), gaussians.audio_gate)
    return assemble(gaussians, offsets, *renderable.poses(drives))


def _joined(parts: Sequence[Splats]) -> Splats:
    offsets = [0]
    for part in parts:
        behind = offsets[-1]
        offsets += [behind + offset for offset in part.offsets[1:]]
    return Splats(
        means=torch.cat([part.means for part in parts]),
        quats=torch.cat([part.quats for part in parts]),
        scales=torch.cat([part.scales for part in parts]),
        opacities=torch.cat([part.opacities for part in parts]),
        colors=torch.cat([part.colors for part in parts]),
        offsets=tuple(offsets),
    )
