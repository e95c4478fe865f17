"""Drawing in PyTorch: the readable twin of the CPU fast path, and the path of a GPU.

All rows of one picture size are rasterized in one call, whatever avatars they show.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from being.inference.compositing import Transparent
from being.inference.frames import Drive
from being.inference.items import RenderItem, by_avatar, by_size
from being.inference.renderable import RenderableAvatar
from being.inference.rendered_frame import RenderedFrame
from being.model.deformation import assemble
from being.raster import Cameras, Raster, Splats, rasterize

ROWS = 8  # frames in flight: 20k Gaussians take about 60 MB each on the way


@torch.inference_mode()
def draw(rows: Sequence[RenderItem], backend: str = "auto") -> list[RenderedFrame]:
    """Draw each row; rows may mix avatars and sizes. backend: as `being.raster.rasterize`."""
    drawn: dict[int, RenderedFrame] = {}
    for indices in by_size(rows):
        for start in range(0, len(indices), ROWS):
            part = indices[start : start + ROWS]
            drawn.update(zip(part, _draw_one_size([rows[index] for index in part], backend), strict=True))
    return [drawn[index] for index in range(len(rows))]


def _draw_one_size(rows: Sequence[RenderItem], backend: str) -> list[RenderedFrame]:
    device = rows[0][0].device
    width, height = rows[0][0].frame_size(rows[0][1])
    parts = [_splats(performer, drives) for performer, drives in by_avatar(rows)]
    intrinsics = torch.tensor([performer.intrinsics(width, height) for performer, _ in rows], device=device)
    view = torch.eye(3, 4, device=device).expand(len(rows), 3, 4)
    raster = rasterize(_joined(parts), Cameras(view, intrinsics, width, height), backend=backend)
    backdrops = np.stack([performer.backdrop(drive.background, width, height) for performer, drive in rows])
    return _composite(raster, torch.from_numpy(backdrops).to(device), [drive for _, drive in rows])


def _splats(performer: RenderableAvatar, drives: Sequence[Drive]) -> Splats:
    """What one avatar looks like in several frames, in camera space."""
    offsets = performer.network.offsets(performer.features, performer.tokens(drives), performer.gaussians.audio_gate)
    return assemble(performer.gaussians, offsets, *performer.poses(drives))


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


def _composite(raster: Raster, backdrops: Tensor, drives: Sequence[Drive]) -> list[RenderedFrame]:
    """Lay the premultiplied colours over the backdrops (B, H, W, 3) uint8; straight colours where there is none."""
    alpha = raster.alpha[..., None]
    over = raster.rgb + (1 - alpha) * (backdrops.float() / 255)
    if any(isinstance(drive.background, Transparent) for drive in drives):
        straight = raster.rgb / alpha.clamp_min(1 / 255)
        nothing = torch.tensor([isinstance(drive.background, Transparent) for drive in drives], device=alpha.device)
        over = torch.where(nothing[:, None, None, None], straight, over)
    pixels = _to_bytes(over)
    coverage = _to_bytes(raster.alpha)
    drawn = []
    for row, drive in enumerate(drives):
        depth = None
        if drive.depth:
            depth = torch.where(alpha[row, ..., 0] > 0, raster.depth[row] / raster.alpha[row], 0.0).cpu().numpy()
        drawn.append(RenderedFrame(pixels[row], coverage[row], depth))
    return drawn


def _to_bytes(values: Tensor) -> npt.NDArray[np.uint8]:
    return (values.clamp(0, 1) * 255 + 0.5).to(torch.uint8).cpu().numpy()
