"""Offsets to splats in camera space in one pass, the CPU twin of `being.model.deformation.assemble`.

Floor: memory. Per Gaussian 240 bytes of canonical attributes and 236 of offsets (56 in the cheaper forms) are read, 56
bytes of splats written; the arithmetic (one spherical harmonic, two rotations, four exponentials) hides behind it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from being.model.approx import thread_split
from being.model.approx.blocks import FULL_CHANNELS, Floats, attribute_rows, block_count, to_blocks
from being.model.approx.deformer import Deformer
from being.model.approx.kernels import EXACT, LANES, VECTOR
from being.model.fold import pose_words
from being.model.gaussians import Gaussians
from being.processors import usable_processors
from being.raster import sh as harmonics
from being.raster.cpu.jit import fetch_add, kernel
from being.raster.cpu.picture import ScreenSplats
from being.raster.cpu.screen import STAGED, keep_lane, project_lanes
from being.raster.cpu.simd import broadcast, exp, fill, fma, load, maximum, relu, root, store

_WEIGHT_ROW = FULL_CHANNELS  # of a canonical block: the head weight follows the 59 attributes
_ROWS = FULL_CHANNELS + 1
_QUAT_AT = 24  # of the pose array: two (3, 4) poses, then two quaternions
# Rows of the staging buffer: centre, quaternion, scale, opacity, colour of 16 lanes.
_STAGED = 14

C0, C1, C2, C2Z = (np.float32(v) for v in (harmonics.C0, harmonics.C1, harmonics.C2_XY, harmonics.C2_ZZ))
C3A, C3B, C3C, C3D = (np.float32(v) for v in (harmonics.C3_A, harmonics.C3_B, harmonics.C3_C, harmonics.C3_D))


@dataclass(frozen=True)
class SplatArrays:
    """Splats of one frame in camera space, float32 in C order, as the rasterizer's NumPy path takes them."""

    means: Floats  # (N, 3)
    quats: Floats  # (N, 4) w x y z, unit
    scales: Floats  # (N, 3)
    opacities: Floats  # (N,)
    colors: Floats  # (N, 3)

    @staticmethod
    def empty(count: int) -> SplatArrays:
        """Arrays for `count` splats, values undefined."""
        shapes = ((count, 3), (count, 4), (count, 3), (count,), (count, 3))
        return SplatArrays(*(np.empty(shape, np.float32) for shape in shapes))


@dataclass(frozen=True)
class CanonicalBlocks:
    """Canonical Gaussians in a deformer's order, blocked: (blocks, 60, 64)."""

    blocks: Floats
    count: int

    @staticmethod
    def of(gaussians: Gaussians, deformer: Deformer) -> CanonicalBlocks:
        """Lay out `gaussians` as `deformer` orders them, with its baseline added."""
        rows = attribute_rows(gaussians)
        if deformer.baseline is not None:
            rows = rows + deformer.baseline
        rows = np.concatenate([rows, gaussians.head_weight.detach().cpu().numpy()[:, None]], axis=1)
        return CanonicalBlocks(to_blocks(rows[deformer.order]), gaussians.count)


def assemble_numpy(
    canonical: CanonicalBlocks,
    offsets: Floats,
    head_pose: Floats,
    torso_pose: Floats,
    out: SplatArrays,
    threads: int = 0,
) -> SplatArrays:
    """Activate, pose and shade one frame.

    Parameters
    ----------
    canonical : of N Gaussians.
    offsets : (blocks, 59 or 14, 64) from a `Deformer`.
    head_pose, torso_pose : (3, 4) [R|t], canonical -> OpenCV camera.
    out : receives the splats, in the order of the blocks.
    threads : 0 for all usable cores.

    Returns
    -------
    `out`.
    """
    poses = pose_words(head_pose[None], torso_pose[None])[0]
    blocks = block_count(canonical.count)
    flat_canonical, flat_offsets = canonical.blocks.reshape(-1), offsets.reshape(-1)
    arrays = (
        out.means.reshape(-1),
        out.quats.reshape(-1),
        out.scales.reshape(-1),
        out.opacities,
        out.colors.reshape(-1),
    )

    def work(queue: npt.NDArray[np.int64]) -> None:
        staging = np.empty(_STAGED * VECTOR, np.float32)
        _assemble(
            queue, blocks, canonical.count, flat_canonical, flat_offsets, offsets.shape[1], poses, staging, *arrays
        )

    thread_split.run(work, min(threads or usable_processors(), blocks))
    return out


def assemble_on_screen(
    canonical: CanonicalBlocks,
    offsets: Floats,
    head_pose: Floats,
    torso_pose: Floats,
    camera: Floats,
    out: ScreenSplats,
    threads: int = 0,
) -> ScreenSplats:
    """As `assemble_numpy`, and projected; camera: `screen.camera_array` of a camera at the origin."""
    poses = pose_words(head_pose[None], torso_pose[None])[0]
    blocks, channels = block_count(canonical.count), offsets.shape[1]
    given = (canonical.count, canonical.blocks.reshape(-1), offsets.reshape(-1), channels, poses, camera)

    def work(queue: npt.NDArray[np.int64]) -> None:
        staging = np.empty(STAGED * VECTOR, np.float32)
        _assemble_on_screen(queue, blocks, *given, staging, out.records, out.depths, out.rows)

    thread_split.run(work, min(threads or usable_processors(), blocks))
    return out


@njit(inline="always", error_model="numpy")
def _moved(pose, at, x, y, z):  # type: ignore[no-untyped-def]
    """One coordinate of R p + t; `at` is the row of the pose."""
    return fma(
        broadcast(pose, at),
        x,
        fma(broadcast(pose, at + 1), y, fma(broadcast(pose, at + 2), z, broadcast(pose, at + 3))),
    )


@njit(inline="always", error_model="numpy")
def _lerp(a, b, weight):  # type: ignore[no-untyped-def]
    return fma(b - a, weight, a)


@njit(inline="always", error_model="numpy")
def _inverse_length(squared):  # type: ignore[no-untyped-def]
    return fill(np.float32(1)) / maximum(root(squared), fill(np.float32(1e-12)))


@njit(inline="always", error_model="numpy")
def _scaled(factor, value):  # type: ignore[no-untyped-def]
    return fill(factor) * value


@njit(inline="always", error_model="numpy")
def _shade(canonical, offsets, a, b, channel, channels, basis):  # type: ignore[no-untyped-def]
    """One channel of sixteen colours; basis: the 15 spherical harmonics above the constant."""
    row = (11 + channel) * LANES
    color = fill(np.float32(0.5)) + _scaled(C0, load(canonical, a + row) + load(offsets, b + row))
    for k in range(15):
        row = (14 + 3 * k + channel) * LANES
        coefficient = load(canonical, a + row)
        if channels > 14:
            coefficient = coefficient + load(offsets, b + row)
        color = fma(basis[k], coefficient, color)
    return relu(color)


@njit(inline="always", error_model="numpy")
def _posed_lanes(canonical, offsets, channels, pose, block, lane):  # type: ignore[no-untyped-def]
    """Sixteen splats in camera space: centre, unit quaternion, scales, opacity, colour, as 14 lane values."""
    one = fill(np.float32(1))
    a = block * _ROWS * LANES + lane
    b = block * channels * LANES + lane
    x = load(canonical, a) + load(offsets, b)
    y = load(canonical, a + LANES) + load(offsets, b + LANES)
    z = load(canonical, a + 2 * LANES) + load(offsets, b + 2 * LANES)
    weight = load(canonical, a + _WEIGHT_ROW * LANES)

    mx = _lerp(_moved(pose, 12, x, y, z), _moved(pose, 0, x, y, z), weight)
    my = _lerp(_moved(pose, 16, x, y, z), _moved(pose, 4, x, y, z), weight)
    mz = _lerp(_moved(pose, 20, x, y, z), _moved(pose, 8, x, y, z), weight)

    tw = _lerp(broadcast(pose, _QUAT_AT + 4), broadcast(pose, _QUAT_AT), weight)
    tx = _lerp(broadcast(pose, _QUAT_AT + 5), broadcast(pose, _QUAT_AT + 1), weight)
    ty = _lerp(broadcast(pose, _QUAT_AT + 6), broadcast(pose, _QUAT_AT + 2), weight)
    tz = _lerp(broadcast(pose, _QUAT_AT + 7), broadcast(pose, _QUAT_AT + 3), weight)
    share = _inverse_length(fma(tw, tw, fma(tx, tx, fma(ty, ty, tz * tz))))
    tw, tx, ty, tz = tw * share, tx * share, ty * share, tz * share

    qw = load(canonical, a + 6 * LANES) + load(offsets, b + 6 * LANES)
    qx = load(canonical, a + 7 * LANES) + load(offsets, b + 7 * LANES)
    qy = load(canonical, a + 8 * LANES) + load(offsets, b + 8 * LANES)
    qz = load(canonical, a + 9 * LANES) + load(offsets, b + 9 * LANES)
    share = _inverse_length(fma(qw, qw, fma(qx, qx, fma(qy, qy, qz * qz))))
    qw, qx, qy, qz = qw * share, qx * share, qy * share, qz * share
    quat = (
        tw * qw - tx * qx - ty * qy - tz * qz,
        tw * qx + tx * qw + ty * qz - tz * qy,
        tw * qy - tx * qz + ty * qw + tz * qx,
        tw * qz + tx * qy - ty * qx + tz * qw,
    )

    s0 = exp(load(canonical, a + 3 * LANES) + load(offsets, b + 3 * LANES))
    s1 = exp(load(canonical, a + 4 * LANES) + load(offsets, b + 4 * LANES))
    s2 = exp(load(canonical, a + 5 * LANES) + load(offsets, b + 5 * LANES))
    logit = load(canonical, a + 10 * LANES) + load(offsets, b + 10 * LANES)
    opacity = one / (one + exp(fill(np.float32(0)) - logit))

    # The ray to the splat, turned back by the conjugate: v - 2 w (u x v) + 2 u x (u x v).
    share = _inverse_length(fma(mx, mx, fma(my, my, mz * mz)))
    vx, vy, vz = mx * share, my * share, mz * share
    cx, cy, cz = ty * vz - tz * vy, tz * vx - tx * vz, tx * vy - ty * vx
    cx, cy, cz = cx + cx, cy + cy, cz + cz
    dx = vx - tw * cx + (ty * cz - tz * cy)
    dy = vy - tw * cy + (tz * cx - tx * cz)
    dz = vz - tw * cz + (tx * cy - ty * cx)
    xx, yy, zz = dx * dx, dy * dy, dz * dz
    xy, yz, xz = dx * dy, dy * dz, dx * dz
    five = fma(zz, fill(np.float32(5)), fill(np.float32(-1)))
    basis = (
        _scaled(-C1, dy),
        _scaled(C1, dz),
        _scaled(-C1, dx),
        _scaled(C2, xy),
        _scaled(-C2, yz),
        _scaled(C2Z, fma(zz, fill(np.float32(3)), fill(np.float32(-1)))),
        _scaled(-C2, xz),
        _scaled(np.float32(0.5) * C2, xx - yy),
        _scaled(-C3A, dy * (xx + xx + xx - yy)),
        _scaled(C3B, xy * dz),
        _scaled(-C3C, dy * five),
        _scaled(C3D, dz * (five - fill(np.float32(2)))),
        _scaled(-C3C, dx * five),
        _scaled(np.float32(0.5) * C3B, dz * (xx - yy)),
        _scaled(-C3A, dx * (xx - yy - yy - yy)),
    )
    red = _shade(canonical, offsets, a, b, 0, channels, basis)
    green = _shade(canonical, offsets, a, b, 1, channels, basis)
    blue = _shade(canonical, offsets, a, b, 2, channels, basis)
    return mx, my, mz, quat[0], quat[1], quat[2], quat[3], s0, s1, s2, opacity, red, green, blue


@kernel(EXACT, allocates=False)
def _assemble(  # type: ignore[no-untyped-def]
    queue, blocks, count, canonical, offsets, channels, pose, staging, means, quats, scales, opacities, colors
):
    """Blocks from the shared queue until none is left; arrays are flat, `staging` holds 16 splats by rows."""
    while True:
        block = fetch_add(queue, 1)
        if block >= blocks:
            return
        for lane in range(0, LANES, VECTOR):
            first = block * LANES + lane
            if first >= count:
                break
            posed = _posed_lanes(canonical, offsets, channels, pose, block, lane)
            for row in range(_STAGED):
                store(staging, row * VECTOR, posed[row])
            for l in range(min(VECTOR, count - first)):
                n = first + l
                for k in range(3):
                    means[3 * n + k] = staging[k * VECTOR + l]
                    scales[3 * n + k] = staging[(7 + k) * VECTOR + l]
                    colors[3 * n + k] = staging[(11 + k) * VECTOR + l]
                for k in range(4):
                    quats[4 * n + k] = staging[(3 + k) * VECTOR + l]
                opacities[n] = staging[10 * VECTOR + l]


@kernel(EXACT, allocates=False)
def _assemble_on_screen(  # type: ignore[no-untyped-def]
    queue, blocks, count, canonical, offsets, channels, pose, camera, staging, records, depths, rows
):
    """As `_assemble`, on to the screen of a camera at the origin."""
    width, height = np.int64(camera[8]), np.int64(camera[9])
    while True:
        block = fetch_add(queue, 1)
        if block >= blocks:
            return
        for lane in range(0, LANES, VECTOR):
            first = block * LANES + lane
            if first >= count:
                break
            x, y, z, qw, qx, qy, qz, s0, s1, s2, opacity, red, green, blue = _posed_lanes(
                canonical, offsets, channels, pose, block, lane
            )
            project_lanes(camera, x, y, z, qw, qx, qy, qz, s0, s1, s2, opacity, red, green, blue, staging)
            for l in range(min(VECTOR, count - first)):
                keep_lane(staging, l, width, height, first + l, records, depths, rows)
