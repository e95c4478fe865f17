"""The rasterizer that 3D Gaussian splatting was published with, as a backend, where the user has installed it.

Being does not ship it: its licence allows research only (extern/inria/README.md says which commit, and how to install).
Written from its call interface; where that differs from the contract:

- it draws one image a call, and colours only: coverage and depth are a second call whose "colours" are 1, z, 0;
- matrices multiply row vectors, so they go in transposed; the projection carries the principal point;
- the screen-space gradient comes back for coordinates of -1..1 across the picture, the probe's is in pixels;
- quaternions must have norm 1; radii are whole pixels, rounded up;
- the affine camera's margin is taken around the optical axis, so that with a principal point off the middle, splats far
  outside the picture spread a little differently.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from being.errors import BeingError, InputError
from being.raster.contract import Cameras, Raster, Splats

PACKAGE = "diff_gaussian_rasterization"
DEVICES = ("cuda",)  # where its kernels run
NEAR, FAR = 0.01, 100.0  # of the depth it puts into the projection, which nothing here reads


def rasterize_inria(splats: Splats, cameras: Cameras, probe: Tensor | None = None) -> Raster:
    """Draw the batch image by image, in float32; arguments as `being.raster.rasterize`.

    Raises
    ------
    BeingError
        The package is not installed, or is a relative of it with another call interface.
    InputError
        The splats are not on a CUDA device.
    """
    package = _import_inria()
    device = splats.means.device
    if device.type not in DEVICES:
        raise InputError(f"The inria backend draws on CUDA devices, the splats are on {device}")
    width, height = cameras.width, cameras.height
    rgb: list[Tensor] = []
    alpha: list[Tensor] = []
    depth: list[Tensor] = []
    radii = splats.means.new_zeros(splats.count, dtype=torch.float32)
    drawable = _drawable(splats)
    for image in range(cameras.count):
        chosen = torch.arange(splats.offsets[image], splats.offsets[image + 1], device=device)
        chosen = chosen[drawable[chosen]]
        view = cameras.view[image].detach().to(device, torch.float32)
        settings = _settings(package, view, cameras.intrinsics[image].to(device, torch.float32), width, height)
        if not len(chosen):
            blank = splats.means.new_zeros(height, width, dtype=torch.float32)
            rgb, alpha, depth = [*rgb, blank[..., None].expand(-1, -1, 3)], [*alpha, blank], [*depth, blank]
            continue
        means = splats.means[chosen].float()
        # Its values are not read: it is there to carry the screen-space gradient back.
        screen = means.new_zeros(len(chosen), 3)
        if probe is not None:
            half = means.new_tensor([2 / width, 2 / height])
            screen = torch.cat([probe[chosen].float() * half, screen[:, 2:]], dim=1)
        distance = means @ view[2, :3] + view[2, 3]
        layers = torch.stack([torch.ones_like(distance), distance, torch.zeros_like(distance)], dim=1)
        shared = {
            "means3D": means,
            "means2D": screen,
            "opacities": splats.opacities[chosen].float()[:, None],
            "scales": splats.scales[chosen].float(),
            "rotations": normalize(splats.quats[chosen].float(), dim=-1),
        }
        # Some versions return more behind these two; the rest is not asked for.
        colours, reach = package.GaussianRasterizer(settings)(colors_precomp=splats.colors[chosen].float(), **shared)[
            :2
        ]
        coverage = package.GaussianRasterizer(settings)(colors_precomp=layers, **shared)[0]
        rgb.append(colours.permute(1, 2, 0))
        alpha.append(coverage[0])
        depth.append(coverage[1])
        radii[chosen] = reach.detach().float()
    if not rgb:
        blank = splats.means.new_zeros(0, height, width, dtype=torch.float32)
        return Raster(blank[..., None].expand(-1, -1, -1, 3), blank, blank, radii)
    return Raster(torch.stack(rgb), torch.stack(alpha), torch.stack(depth), radii)


def _settings(package: Any, view: Tensor, intrinsics: Tensor, width: int, height: int) -> Any:
    """The camera of one image in the package's terms."""
    fx, fy, cx, cy = intrinsics.tolist()
    world = torch.eye(4, device=view.device)
    world[:3] = view
    project = world.new_zeros(4, 4)
    project[0, 0], project[0, 2] = 2 * fx / width, 2 * cx / width - 1
    project[1, 1], project[1, 2] = 2 * fy / height, 2 * cy / height - 1
    project[2, 2], project[2, 3] = FAR / (FAR - NEAR), -FAR * NEAR / (FAR - NEAR)
    project[3, 2] = 1.0
    fields = {
        "image_height": height,
        "image_width": width,
        "tanfovx": width / (2 * fx),
        "tanfovy": height / (2 * fy),
        "bg": world.new_zeros(3),
        "scale_modifier": 1.0,
        "viewmatrix": world.T.contiguous(),
        "projmatrix": (project @ world).T.contiguous(),
        "sh_degree": 0,
        "campos": -(view[:, :3].T @ view[:, 3]),
        "prefiltered": False,
        "debug": False,
        "antialiasing": False,
    }
    settings = package.GaussianRasterizationSettings
    known = settings._fields
    missing = [name for name in known if name not in fields]
    if missing:
        raise BeingError(
            f"the installed {PACKAGE} asks for {missing[0]!r}, which the published one does not",
            "Install the commit named in extern/inria/README.md",
        )
    return settings(**{name: value for name, value in fields.items() if name in known})


def _drawable(splats: Splats) -> Tensor:
    """(N,) False where a splat holds a value that is not finite, or a quaternion of norm zero."""
    numbers = [splats.means, splats.quats, splats.scales, splats.colors, splats.opacities[:, None]]
    return torch.cat(numbers, dim=-1).detach().isfinite().all(-1) & (splats.quats.detach() != 0).any(-1)


def _import_inria() -> Any:
    try:
        import diff_gaussian_rasterization
    except ImportError as error:
        raise BeingError(
            f"the inria backend needs the package {PACKAGE}, which Being must not ship (research licence)",
            "extern/inria/README.md says how to install it; --backend gsplat needs no such licence",
        ) from error
    return diff_gaussian_rasterization
