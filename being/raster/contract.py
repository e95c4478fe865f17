"""The contract every rasterizer keeps: a ragged batch of splats and cameras in, colour, coverage and depth out.

The picture is the one of 3D Gaussian splatting (Kerbl et al. 2023, https://arxiv.org/abs/2308.04079), with the
constants that trained avatars expect; `reference.py` states the arithmetic in plain PyTorch, and the others match it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from being.errors import InputError

NEAR_PLANE = 0.2  # scene units (2 cm): a splat whose centre is nearer to the camera is not drawn
LOW_PASS = 0.3  # px^2, added to the diagonal of the 2D covariance: no splat is thinner than about a pixel
MIN_ALPHA = 1.0 / 255.0  # a splat fainter than one 8-bit level at a pixel does not touch that pixel
MAX_ALPHA = 0.99  # no splat hides everything behind it, which keeps the gradient 1 / (1 - alpha) finite
MIN_TRANSMITTANCE = 1e-4  # the splat that would take a pixel below this, and all behind it, are not blended
JACOBIAN_MARGIN = 0.3  # the local affine camera is taken no further outside the picture than 0.3 of its half size


@dataclass(frozen=True)
class Splats:
    """Activated Gaussians of B images, one after the other.

    Image b draws the splats `offsets[b]:offsets[b + 1]`; an image may have none. A splat that holds a value that is not
    finite, or a quaternion of norm zero, is not drawn.
    """

    means: Tensor  # (N, 3) centres, in the space that Cameras.view maps from
    quats: Tensor  # (N, 4) rotations w x y z, any non-zero norm
    scales: Tensor  # (N, 3) standard deviations along the rotated axes, > 0
    opacities: Tensor  # (N,) in (0, 1)
    colors: Tensor  # (N, 3) >= 0, linear as stored, may exceed 1
    offsets: tuple[int, ...]  # B + 1 increasing integers from 0 to N

    @property
    def count(self) -> int:
        """Number of splats of the whole batch, N."""
        return self.means.shape[0]

    def validate(self) -> None:
        """Raise InputError where a shape, a dtype, a device or the offsets are wrong."""
        count = self.count
        shapes = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": (), "colors": (3,)}
        for name, trailing in shapes.items():
            value = getattr(self, name)
            if tuple(value.shape) != (count, *trailing):
                raise InputError(f"Splats.{name} has shape {tuple(value.shape)}, expected {(count, *trailing)}")
            if value.dtype != self.means.dtype or value.device != self.means.device:
                raise InputError(
                    f"Splats.{name} is {value.dtype} on {value.device}, "
                    f"Splats.means is {self.means.dtype} on {self.means.device}",
                    "Give all splat tensors one dtype and one device",
                )
        if not self.means.dtype.is_floating_point:
            raise InputError(f"Splats.means is {self.means.dtype}, expected a floating-point tensor")
        steps = zip(self.offsets[:-1], self.offsets[1:], strict=True)
        ordered = all(start <= stop for start, stop in steps)
        if len(self.offsets) < 1 or self.offsets[0] != 0 or self.offsets[-1] != count or not ordered:
            raise InputError(f"Splats.offsets must rise from 0 to {count}, found {self.offsets}")


@dataclass(frozen=True)
class Cameras:
    """B pinhole cameras in OpenCV axes (x right, y down, z forward), all of one picture size.

    The centre of pixel (row j, column i) is (i + 0.5, j + 0.5).
    """

    view: Tensor  # (B, 3, 4) [R | t], splat space -> camera space
    intrinsics: Tensor  # (B, 4) fx fy cx cy, pixels
    width: int  # pixels
    height: int  # pixels
    low_pass: Tensor | None = None  # (B, 2) px^2, see `scaled_low_pass`; None: LOW_PASS, as splats are trained

    @property
    def count(self) -> int:
        """Number of images, B."""
        return self.view.shape[0]

    def validate(self) -> None:
        """Raise InputError where a shape or the picture size is wrong."""
        if self.view.dim() != 3 or tuple(self.view.shape[1:]) != (3, 4):
            raise InputError(f"Cameras.view has shape {tuple(self.view.shape)}, expected (B, 3, 4)")
        if tuple(self.intrinsics.shape) != (self.count, 4):
            raise InputError(f"Cameras.intrinsics has shape {tuple(self.intrinsics.shape)}, expected {(self.count, 4)}")
        if self.low_pass is not None and tuple(self.low_pass.shape) != (self.count, 2):
            raise InputError(f"Cameras.low_pass has shape {tuple(self.low_pass.shape)}, expected {(self.count, 2)}")
        if self.width < 1 or self.height < 1:
            raise InputError(
                f"The picture is {self.width}x{self.height} pixels", "Give a width and height of at least 1"
            )


def scaled_low_pass(scale: float) -> tuple[float, float]:
    """The low-pass filters, px^2, of pictures `scale` times as large as those that splats were trained on.

    The first is what is added to the diagonal of the 2D covariance. The second is what of it the splats were trained
    with: LOW_PASS of their own pixels. In smaller pictures the first holds the variance of the larger pixel's box too,
    which must not make a thin splat weigh more: its opacity falls as its area grows, by the root of the determinants'
    ratio (Mip-Splatting, Yu et al. 2024, eq. 11). Larger pictures show what the trained ones did.
    """
    trained = LOW_PASS * scale * scale
    return trained + max(0.0, 1.0 - scale * scale) / 12.0, trained


@dataclass(frozen=True)
class Raster:
    """What B cameras see. With weight w_k = alpha_k * transmittance in front of splat k, at every pixel:"""

    rgb: Tensor  # (B, H, W, 3) sum of w_k * color_k: premultiplied by coverage, no background
    alpha: Tensor  # (B, H, W) sum of w_k, in [0, 1)
    depth: Tensor  # (B, H, W) sum of w_k * z_k, in scene units; divide by alpha for a mean depth
    radii: Tensor  # (N,) half the longer side of the splat's bounding box on screen, px; 0 where it is not drawn


def check_inputs(splats: Splats, cameras: Cameras, probe: Tensor | None) -> None:
    """Raise InputError unless splats, cameras and probe fit each other (what every backend may rely on)."""
    splats.validate()
    cameras.validate()
    if len(splats.offsets) != cameras.count + 1:
        raise InputError(f"{len(splats.offsets) - 1} sets of splats were given for {cameras.count} cameras")
    if probe is not None and tuple(probe.shape) != (splats.count, 2):
        raise InputError(f"probe has shape {tuple(probe.shape)}, expected {(splats.count, 2)}")
