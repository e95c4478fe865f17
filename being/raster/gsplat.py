"""The CUDA backend: gsplat's kernels (https://docs.gsplat.studio, version 1.5), one launch of each for the whole batch.

Its lower-level functions are used, so that the probe can be added between projection and blending. Where gsplat differs
from the contract:

- it caps alpha at 0.999, the contract at 0.99. Opacities are capped at 0.99 before they go in (their gradient passes
  as if they were not): where a splat is that opaque, alpha differs by at most 1% away from its centre;
- its radii are whole pixels, rounded up;
- its blend ends at a transmittance of 1e-4 or less, the contract's under 1e-4.
"""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from being.errors import InputError, MissingDependencyError
from being.raster.contract import LOW_PASS, MAX_ALPHA, NEAR_PLANE, Cameras, Raster, Splats
from being.raster.reference import screen_axes, thinning
from being.raster.sh import COEFFICIENTS

TILE = 16  # px


def rasterize_gsplat(splats: Splats, cameras: Cameras, probe: Tensor | None = None, absolute: bool = False) -> Raster:
    """Draw every image of the batch on the GPU, in float32; arguments as `being.raster.rasterize`.

    The one wait for the GPU is gsplat's own, for the number of (tile, splat) pairs.
    """
    _import_gsplat()
    if splats.means.device.type != "cuda":
        raise InputError(f"The gsplat backend draws on CUDA devices, the splats are on {splats.means.device}")
    images, width, height = cameras.count, cameras.width, cameras.height
    if images == 0:
        blank = splats.means.new_zeros(0, height, width)
        return Raster(blank[..., None].expand(-1, -1, -1, 3), blank, blank, splats.means.new_zeros(0))

    low_pass = LOW_PASS
    if cameras.low_pass is not None:
        filters = cameras.low_pass.tolist()
        if any(one != filters[0] for one in filters):  # gsplat takes one filter for all pictures
            return _one_by_one(splats, cameras, probe, absolute)
        low_pass, splats = filters[0][0], _thinned(splats, cameras)
    batch = _Batch(splats)
    view = pad(cameras.view.detach().to(splats.means.device, torch.float32), (0, 0, 0, 1))  # (B, 4, 4)
    view[:, 3, 3] = 1.0
    blended, alpha, radii = draw_rows(
        means=batch.fold(splats.means, 0.0),
        quats=batch.fold(splats.quats, 1.0),
        scales=batch.fold(splats.scales, 1.0),
        opacities=batch.fold(_drawable_opacities(splats), 0.0),
        colors=batch.fold(splats.colors, 0.0),
        view=view,
        cameras=_camera_matrices(cameras.intrinsics.to(splats.means.device, torch.float32)),
        width=width,
        height=height,
        probe=None if probe is None else batch.fold(probe, 0.0),
        depth=True,
        low_pass=low_pass,
        absolute=absolute,
    )
    return Raster(
        rgb=blended[..., :3],
        alpha=alpha,
        depth=blended[..., 3],
        radii=batch.unfold(radii.detach().amax(-1).to(torch.float32)),
    )


def draw_rows(
    means: Tensor,
    quats: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    view: Tensor,
    cameras: Tensor,
    width: int,
    height: int,
    probe: Tensor | None = None,
    depth: bool = False,
    low_pass: float = LOW_PASS,
    absolute: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw B pictures of n splats each, opacities capped and 0 where nothing may be drawn.

    Parameters
    ----------
    means, scales, colors : (B, n, 3). quats : (B, n, 4). opacities : (B, n).
    view : (B, 4, 4). cameras : (B, 3, 3). probe : (B, n, 2), added to the centres in pixels.
    depth : blend it as a fourth colour. low_pass : px^2, added to the diagonal of the 2D covariance.
    absolute : see `being.raster.rasterize`.

    Returns
    -------
    Premultiplied colours (B, H, W, 3 or 4), alpha (B, H, W), radii (B, n, 2).
    """
    gsplat = _import_gsplat()
    # Each image is a scene of its own to gsplat, (B, n, ...), seen by one camera, (B, 1, ...).
    radii, centers, depths, conics, _ = gsplat.fully_fused_projection(
        means=means,
        covars=None,
        quats=quats,
        scales=scales,
        viewmats=view[:, None],
        Ks=cameras[:, None],
        width=width,
        height=height,
        eps2d=low_pass,
        near_plane=NEAR_PLANE,
        packed=False,
        opacities=opacities,
    )
    radii, centers, depths, conics = radii[:, 0], centers[:, 0], depths[:, 0], conics[:, 0]
    absolute = absolute and probe is not None
    if probe is not None:
        centers = _AbsoluteSum.apply(centers, probe) if absolute else centers + probe
    across, down = -(-width // TILE), -(-height // TILE)
    _, tile_keys, order = gsplat.isect_tiles(centers, radii, depths, TILE, across, down, packed=False)
    starts = gsplat.isect_offset_encode(tile_keys, len(means), across, down).reshape(len(means), down, across)
    channels = torch.cat([colors, depths[..., None]], dim=-1) if depth else colors
    blended, alpha = gsplat.rasterize_to_pixels(
        centers, conics, channels, opacities, width, height, TILE, starts, order, packed=False, absgrad=absolute
    )
    return blended, alpha[..., 0], radii


def spherical_harmonics_gsplat(sh: Tensor, directions: Tensor) -> Tensor:
    """`being.raster.spherical_harmonics` of float32 tensors (N, K, 3) and (N, 3) on a GPU.

    The gradient in a direction leaves out what would change its length.
    """
    gsplat = _import_gsplat()
    if sh.device.type != "cuda":
        raise InputError(f"The gsplat backend draws on CUDA devices, the coefficients are on {sh.device}")
    degree = COEFFICIENTS.index(sh.shape[1])
    colours: Tensor = gsplat.spherical_harmonics(degree, directions, sh)
    return (0.5 + colours).clamp(min=0.0)


def _thinned(splats: Splats, cameras: Cameras) -> Splats:
    """The splats, less opaque where the cameras' filters spread them."""
    assert cameras.low_pass is not None
    factors = []
    for image, filters in enumerate(cameras.low_pass.tolist()):
        own, view = slice(*splats.offsets[image : image + 2]), cameras.view[image].to(splats.means)
        in_camera = splats.means[own] @ view[:, :3].T + view[:, 3]
        places = (view, cameras.intrinsics[image].to(splats.means), cameras.width, cameras.height)
        factors.append(thinning(screen_axes(in_camera, splats.quats[own], splats.scales[own], *places), filters))
    return replace(splats, opacities=splats.opacities * torch.cat(factors))


def _one_by_one(splats: Splats, cameras: Cameras, probe: Tensor | None, absolute: bool) -> Raster:
    parts = []
    for image, (start, stop) in enumerate(pairwise(splats.offsets)):
        own = {name: getattr(splats, name)[start:stop] for name in ("means", "quats", "scales", "opacities", "colors")}
        seen = {name: getattr(cameras, name)[image : image + 1] for name in ("view", "intrinsics", "low_pass")}
        camera = Cameras(**seen, width=cameras.width, height=cameras.height)
        one = Splats(**own, offsets=(0, stop - start))
        parts.append(rasterize_gsplat(one, camera, None if probe is None else probe[start:stop], absolute))
    return Raster(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Raster)))


class _AbsoluteSum(torch.autograd.Function):
    """centers + probe, whose gradient in the probe is what gsplat leaves as `absgrad` at the sum.

    Sums of absolute values: Ye et al. 2024, "AbsGS", equation 8.
    """

    @staticmethod
    def forward(ctx: Any, centers: Tensor, probe: Tensor) -> Tensor:
        ctx.sum = centers + probe
        return ctx.sum  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        found = ctx.sum.absgrad
        del ctx.sum
        return slope, found


class _Batch:
    """Lays a ragged batch out as B rows of equal length, and back. Rows of equal length already are not copied."""

    def __init__(self, splats: Splats) -> None:
        offsets = splats.offsets
        lengths = [stop - start for start, stop in pairwise(offsets)]
        self.rows, self.length = len(lengths), max(1, *lengths)
        self.ragged = any(length != self.length for length in lengths)
        if self.ragged:
            device = splats.means.device
            rows = [torch.arange(length, device=device) + row * self.length for row, length in enumerate(lengths)]
            self._slots = torch.cat(rows)  # (N,) where each splat goes

    def fold(self, values: Tensor, filler: float) -> Tensor:
        """Return values (N, ...) as float32 rows (B, n, ...), short rows filled up with `filler`."""
        values = values.float()
        if self.ragged:
            padded = values.new_full((self.rows * self.length, *values.shape[1:]), filler)
            values = padded.index_copy(0, self._slots, values)
        return values.reshape(self.rows, self.length, *values.shape[1:])

    def unfold(self, rows: Tensor) -> Tensor:
        """Return rows (B, n, ...) as values (N, ...)."""
        values = rows.reshape(self.rows * self.length, *rows.shape[2:])
        return values[self._slots] if self.ragged else values


def _drawable_opacities(splats: Splats) -> Tensor:
    """Return the opacities (N,) capped at 0.99, without stopping their gradient, and 0 for splats of bad numbers."""
    excess = (splats.opacities - MAX_ALPHA).clamp(min=0.0).detach()
    numbers = [splats.means, splats.quats, splats.scales, splats.colors, splats.opacities[:, None]]
    good = torch.cat(numbers, dim=-1).detach().isfinite().all(-1) & (splats.quats != 0).any(-1)
    return torch.where(good, splats.opacities - excess, 0.0)


def _camera_matrices(intrinsics: Tensor) -> Tensor:
    """Return camera matrices (B, 3, 3) of intrinsics (B, 4) fx fy cx cy."""
    fx, fy, cx, cy = intrinsics.unbind(-1)
    zero, one = torch.zeros_like(fx), torch.ones_like(fx)
    return torch.stack([fx, zero, cx, zero, fy, cy, zero, zero, one], dim=-1).unflatten(-1, (3, 3))


def _import_gsplat() -> Any:
    try:
        import gsplat
    except ImportError as error:
        raise MissingDependencyError("gsplat", "gpu", "Drawing on a CUDA device") from error
    return gsplat
