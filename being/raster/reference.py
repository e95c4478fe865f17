"""The readable rasterizer: what every backend computes, in plain PyTorch, differentiable, on any device and dtype.

It is exact and slow. Tests hold the fast backends against it, in value and in gradient (in float64 where it matters).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from being.raster.contract import (
    JACOBIAN_MARGIN,
    LOW_PASS,
    MAX_ALPHA,
    MIN_ALPHA,
    MIN_TRANSMITTANCE,
    NEAR_PLANE,
    Cameras,
    Raster,
    Splats,
)

TILE = 32  # px: the picture is blended in squares, so that memory does not grow with its size


@dataclass(frozen=True)
class Projected:
    """The M splats of one image that touch at least one pixel centre, front to back."""

    index: Tensor  # (M,) which splat of the image
    centers: Tensor  # (M, 2) px
    conics: Tensor  # (M, 3) inverse 2D covariance: xx, xy, yy, 1/px^2
    opacities: Tensor  # (M,) less what the low-pass filter spreads
    depths: Tensor  # (M,) camera z
    extents: Tensor  # (M, 2) half width and height of the box outside which alpha < 1/255, px


def rasterize_reference(splats: Splats, cameras: Cameras, probe: Tensor | None = None) -> Raster:
    """Draw every image of the batch; arguments as `being.raster.rasterize`."""
    images = [_rasterize_image(splats, cameras, probe, image) for image in range(cameras.count)]
    blank = splats.means.new_zeros(0, cameras.height, cameras.width, 5)  # what an empty batch shows
    picture = torch.stack([picture for picture, _ in images]) if images else blank
    radii = torch.cat([radii for _, radii in images]) if images else splats.means.new_zeros(0)
    return Raster(rgb=picture[..., :3], alpha=picture[..., 3], depth=picture[..., 4], radii=radii)


def _rasterize_image(splats: Splats, cameras: Cameras, probe: Tensor | None, image: int) -> tuple[Tensor, Tensor]:
    """Return the picture (H, W, 5) of red, green, blue, coverage, depth, and the radii (n,) of one image."""
    own = slice(splats.offsets[image], splats.offsets[image + 1])
    view, intrinsics = cameras.view[image].to(splats.means), cameras.intrinsics[image].to(splats.means)
    width, height = cameras.width, cameras.height
    low_pass = (LOW_PASS, LOW_PASS) if cameras.low_pass is None else tuple(cameras.low_pass[image].tolist())
    projected = project(
        splats.means[own],
        splats.quats[own],
        splats.scales[own],
        splats.opacities[own],
        view,
        intrinsics,
        width,
        height,
        low_pass=low_pass,
        finite=splats.colors[own].isfinite().all(-1),
        probe=None if probe is None else probe[own].to(splats.means),
    )
    ones = torch.ones_like(projected.depths)
    # Coverage and depth are blended like colours: of value 1, and of value z.
    channels = torch.cat([splats.colors[own][projected.index], ones[:, None], projected.depths[:, None]], dim=-1)

    rows = []
    for y in range(0, height, TILE):
        row = []
        for x in range(0, width, TILE):
            area = (x, y, min(TILE, width - x), min(TILE, height - y))
            touching = _splats_touching(projected, *area)
            arguments = (projected.centers, projected.conics, projected.opacities, channels)
            selected = [argument[touching] for argument in arguments]
            # Checkpointed: the (splats, pixels) tables of a tile are made again in the backward pass, not kept.
            row.append(checkpoint(_blend_tile, *selected, *area, use_reentrant=False))
        rows.append(torch.cat(row, dim=1))
    radii = torch.zeros_like(splats.opacities[own])
    radii[projected.index] = projected.extents.detach().amax(-1)
    return torch.cat(rows, dim=0), radii


def project(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    view: Tensor,
    intrinsics: Tensor,
    width: int,
    height: int,
    *,
    low_pass: tuple[float, float] = (LOW_PASS, LOW_PASS),
    finite: Tensor | None = None,
    probe: Tensor | None = None,
) -> Projected:
    """Project n splats into one camera (EWA splatting, Zwicker et al. 2001): Sigma' = J W Sigma W^T J^T + s I.

    Parameters
    ----------
    means (n, 3), quats (n, 4), scales (n, 3), opacities (n,) : see `Splats`.
    view : (3, 4), intrinsics : (4,), see `Cameras`.
    low_pass : s, and what of it splats were trained with, px^2; see `scaled_low_pass`.
    finite : (n,) bool, splats that may be drawn at all (default all).
    probe : (n, 2) px, added to the projected centres.
    """
    in_camera = means @ view[:, :3].T + view[:, 3]
    attributes = torch.cat([in_camera, quats, scales, opacities[:, None]], dim=-1)
    drawable = (in_camera[:, 2] > NEAR_PLANE) & (opacities >= MIN_ALPHA) & attributes.isfinite().all(-1)
    drawable &= quats.abs().amax(-1) > 0
    if finite is not None:
        drawable &= finite
    # Chosen before the arithmetic, not masked after it: 0 * inf would put NaN into the gradient of what is culled.
    index = drawable.nonzero().squeeze(-1)

    in_camera, opacities = in_camera[index], opacities[index]
    fx, fy, cx, cy = intrinsics.unbind()
    x, y, z = in_camera.unbind(-1)
    centers = torch.stack([fx * x / z + cx, fy * y / z + cy], dim=-1)
    if probe is not None:
        centers = centers + probe[index]

    axes = screen_axes(in_camera, quats[index], scales[index], view, intrinsics, width, height)
    horizontal, vertical = axes.unbind(1)
    raw_xx, xy, raw_yy = (horizontal**2).sum(-1), (horizontal * vertical).sum(-1), (vertical**2).sum(-1)
    added, trained = low_pass
    xx, yy = raw_xx + added, raw_yy + added
    # det(A A^T + s I) = |a x b|^2 + s tr(A A^T) + s^2: unlike xx * yy - xy^2 it loses no digits on thin splats.
    determinant = (torch.linalg.cross(horizontal, vertical) ** 2).sum(-1) + added * (raw_xx + raw_yy) + added**2
    if trained != added:
        opacities = opacities * thinning(axes, low_pass)
    conics = torch.stack([yy, -xy, xx], dim=-1) / determinant[:, None]

    # alpha >= 1/255 where d^T conic d <= 2 ln(255 opacity): an ellipse whose box has these half sides.
    with torch.no_grad():
        reach = torch.sqrt(2.0 * torch.log(opacities / MIN_ALPHA).clamp(min=0.0))
        extents = reach[:, None] * torch.sqrt(torch.stack([xx, yy], dim=-1))
        limit = torch.tensor([width, height], dtype=means.dtype, device=means.device) - 1.0
        first = torch.ceil(centers - extents - 0.5).clamp(min=0.0)
        last = torch.minimum(torch.floor(centers + extents - 0.5), limit)
        on_screen = (first <= last).all(-1) & conics.isfinite().all(-1) & centers.isfinite().all(-1)
        kept = on_screen.nonzero().squeeze(-1)
        order = kept[torch.argsort(z[kept], stable=True)]
    return Projected(index[order], centers[order], conics[order], opacities[order], z[order], extents[order])


def screen_axes(
    in_camera: Tensor, quats: Tensor, scales: Tensor, view: Tensor, intrinsics: Tensor, width: int, height: int
) -> Tensor:
    """The three axes of splats at `in_camera` (n, 3) on screen, (n, 2, 3) px: their 2D covariance is axes @ axes^T."""
    fx, fy, cx, cy = intrinsics.unbind()
    x, y, z = in_camera.unbind(-1)
    # J: the camera's derivative at the splat's centre. Far outside the picture it would stretch splats without limit.
    margin_x, margin_y = JACOBIAN_MARGIN * 0.5 * width / fx, JACOBIAN_MARGIN * 0.5 * height / fy
    slope_x = (x / z).clamp(-cx / fx - margin_x, (width - cx) / fx + margin_x)
    slope_y = (y / z).clamp(-cy / fy - margin_y, (height - cy) / fy + margin_y)
    zero = torch.zeros_like(z)
    jacobian = torch.stack([fx / z, zero, -fx * slope_x / z, zero, fy / z, -fy * slope_y / z], dim=-1)
    return jacobian.unflatten(-1, (2, 3)) @ view[:, :3] @ rotation_matrices(quats) * scales[:, None, :]


def thinning(axes: Tensor, low_pass: tuple[float, float]) -> Tensor:
    """What opacities (n,) are multiplied by under the filters of `scaled_low_pass`. axes : (n, 2, 3) px."""
    crossed = (torch.linalg.cross(axes[:, 0], axes[:, 1]) ** 2).sum(-1)
    trace = (axes**2).sum((1, 2))
    added, trained = (crossed + s * trace + s**2 for s in low_pass)
    return torch.sqrt(trained / added)


def rotation_matrices(quats: Tensor) -> Tensor:
    """Return the rotation matrices (n, 3, 3) of quaternions (n, 4) w x y z of any non-zero norm."""
    w, x, y, z = torch.nn.functional.normalize(quats, dim=-1).unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], dim=-1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], dim=-1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=-1),
    ]
    return torch.stack(rows, dim=-2)


def _splats_touching(projected: Projected, x: int, y: int, width: int, height: int) -> Tensor:
    """Return which projected splats (ascending, so front to back) reach a pixel centre of the tile at (x, y)."""
    with torch.no_grad():
        near_x, near_y = (projected.centers - projected.extents).unbind(-1)
        far_x, far_y = (projected.centers + projected.extents).unbind(-1)
        across = (far_x >= x) & (near_x <= x + width)
        return (across & (far_y >= y) & (near_y <= y + height)).nonzero().squeeze(-1)


def _blend_tile(
    centers: Tensor, conics: Tensor, opacities: Tensor, channels: Tensor, x: int, y: int, width: int, height: int
) -> Tensor:
    """Blend m splats, front to back, over the tile whose corner is (x, y); return (height, width, channels)."""
    columns, rows = (torch.arange(size, device=centers.device).to(centers) + 0.5 for size in (width, height))
    dx = x + columns - centers[:, 0, None]  # (m, width)
    dy = y + rows - centers[:, 1, None]  # (m, height)
    xx, xy, yy = (conic[:, None, None] for conic in conics.unbind(-1))
    dx, dy = dx[:, None, :], dy[:, :, None]
    falloff = torch.exp(-0.5 * (xx * dx * dx + yy * dy * dy) - xy * dx * dy)
    alpha = (opacities[:, None, None] * falloff).clamp(max=MAX_ALPHA)
    alpha = torch.where(alpha >= MIN_ALPHA, alpha, torch.zeros_like(alpha))

    # Transmittance never rises, so once it is under the limit it stays there: no loop is needed to stop.
    behind = torch.cumprod(1.0 - alpha, dim=0)
    in_front = torch.cat([torch.ones_like(behind[:1]), behind[:-1]])[: alpha.shape[0]]
    weights = torch.where(behind >= MIN_TRANSMITTANCE, alpha * in_front, torch.zeros_like(alpha))
    return torch.einsum("mhw,mc->hwc", weights, channels)
