"""From canonical Gaussians and offsets to splats in camera space: activate, bend between head and torso, shade."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from being.model.gaussians import Gaussians
from being.model.network import Offsets
from being.raster import Splats, spherical_harmonics


@dataclass(frozen=True)
class Deformed:
    """Gaussians of B frames, not yet activated: canonical + offset.

    xyz (B, N, 3), log_scales (B, N, 3), quats (B, N, 4), opacity_logits (B, N), sh (B, N, 16, 3).
    """

    xyz: Tensor
    log_scales: Tensor
    quats: Tensor
    opacity_logits: Tensor
    sh: Tensor


def deform(gaussians: Gaussians, offsets: Offsets | None, frames: int = 1) -> Deformed:
    """Canonical + offset for each frame; offsets None gives the resting Gaussians `frames` times."""
    if offsets is None:
        return Deformed(
            *(
                value.expand(frames, *value.shape)
                for value in (
                    gaussians.xyz,
                    gaussians.log_scales,
                    gaussians.quats,
                    gaussians.opacity_logits,
                    gaussians.sh,
                )
            )
        )
    return Deformed(
        xyz=gaussians.xyz + offsets.xyz,
        log_scales=gaussians.log_scales + offsets.log_scales,
        quats=gaussians.quats + offsets.quats,
        opacity_logits=gaussians.opacity_logits + offsets.opacity_logits,
        sh=gaussians.sh + offsets.sh,
    )


def pose_splats(deformed: Deformed, head_weight: Tensor, head_pose: Tensor, torso_pose: Tensor) -> Splats:
    """Activate, move each Gaussian with its share of head and torso, and evaluate its colour.

    position = w (H x) + (1 - w) (T x); orientation = (normalised w q_H + (1 - w) q_T) * q. Colour is seen along the
    ray to the posed centre, turned back into the Gaussian's own frame, so that shading moves with the skin.

    Parameters
    ----------
    deformed : B frames of N Gaussians.
    head_weight : (N,) w in [0, 1].
    head_pose, torso_pose : (B, 3, 4) [R|t], canonical -> OpenCV camera.

    Returns
    -------
    Splats in camera space, B images of N splats each (draw with the identity as view).
    """
    frames, count = deformed.opacity_logits.shape
    weight = head_weight[None, :, None]
    by_head = deformed.xyz @ head_pose[:, :, :3].transpose(1, 2) + head_pose[:, None, :, 3]
    by_torso = deformed.xyz @ torso_pose[:, :, :3].transpose(1, 2) + torso_pose[:, None, :, 3]
    means = torch.lerp(by_torso, by_head, weight)

    turns = quaternion_from_rotation(torch.stack([head_pose[:, :, :3], torso_pose[:, :, :3]]))
    head_quat, torso_quat = turns.unbind(0)
    # q and -q are one rotation; the blend must take the short way.
    torso_quat = torch.where((head_quat * torso_quat).sum(-1, keepdim=True) < 0, -torso_quat, torso_quat)
    turn = F.normalize(torch.lerp(torso_quat[:, None], head_quat[:, None], weight), dim=-1)  # (B, N, 4)

    conjugate = torch.cat([turn[..., :1], -turn[..., 1:]], dim=-1)
    directions = rotate(conjugate, F.normalize(means, dim=-1))
    colors = spherical_harmonics(deformed.sh.flatten(0, 1), directions.flatten(0, 1))
    return Splats(
        means=means.flatten(0, 1),
        quats=quaternion_multiply(turn, F.normalize(deformed.quats, dim=-1)).flatten(0, 1),
        scales=torch.exp(deformed.log_scales).flatten(0, 1),
        opacities=torch.sigmoid(deformed.opacity_logits).flatten(),
        colors=colors,
        offsets=tuple(frame * count for frame in range(frames + 1)),
    )


def assemble(gaussians: Gaussians, offsets: Offsets | None, head_pose: Tensor, torso_pose: Tensor) -> Splats:
    """`deform` then `pose_splats`: B images of splats in camera space, differentiable in every tensor.

    offsets None draws the resting Gaussians in each pose; poses are (B, 3, 4). The floor is memory: 236 bytes of
    offsets read and 56 bytes of splats written per Gaussian and frame, plus 236 bytes of Gaussians read.
    """
    deformed = deform(gaussians, offsets, frames=head_pose.shape[0])
    return pose_splats(deformed, gaussians.head_weight, head_pose, torso_pose)


def quaternion_multiply(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product a * b, (..., 4) w x y z: the rotation b, then a."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    return torch.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        dim=-1,
    )


def rotate(quats: Tensor, vectors: Tensor) -> Tensor:
    """Turn vectors (..., 3) by unit quaternions (..., 4): v + 2 w (u x v) + 2 u x (u x v)."""
    w, u = quats[..., :1], quats[..., 1:]
    twice = 2 * torch.linalg.cross(u, vectors)
    return vectors + w * twice + torch.linalg.cross(u, twice)


def quaternion_from_rotation(rotation: Tensor) -> Tensor:
    """(..., 3, 3) rotation matrices to unit quaternions (..., 4), w x y z.

    Each of the four `QUATERNION_ROWS` is the quaternion times 4 of one of its entries; the longest is the
    well-conditioned one (Bar-Itzhack's choice without branches). Differentiable away from ties.
    """
    entries, signs, ones = _row_terms(rotation.device, rotation.dtype)
    terms = rotation.flatten(-2).index_select(-1, entries).unflatten(-1, signs.shape) * signs
    first, second, third = terms.unbind(-2)
    rows = (ones + first + second + third).unflatten(-1, (4, 4))
    best = rows.detach().square().sum(-1).argmax(dim=-1)[..., None, None].expand(*rows.shape[:-2], 1, 4)
    return F.normalize(rows.gather(-2, best).squeeze(-2), dim=-1)


# Sums of entries r of the matrix, the same in all four columns as in all four rows; + 1 on the diagonal.
QUATERNION_ROWS = (
    ("+00 +11 +22", "+21 -12", "+02 -20", "+10 -01"),
    ("+21 -12", "+00 -11 -22", "+01 +10", "+02 +20"),
    ("+02 -20", "+01 +10", "-00 +11 -22", "+12 +21"),
    ("+10 -01", "+02 +20", "+12 +21", "-00 -11 +22"),
)


@lru_cache(maxsize=8)
def _row_terms(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Entries (48,) of the flat matrix in three terms of the 16 sums, their signs (3, 16), what is added (16,).

    Made once: sixteen sums of numbers picked one by one are hundreds of launches with their gradients.
    """
    sums = [[(term[0], int(term[1]), int(term[2])) for term in text.split()] for row in QUATERNION_ROWS for text in row]
    padded = [[*terms, ("0", 0, 0)][:3] for terms in sums]
    entries = [3 * padded[cell][place][1] + padded[cell][place][2] for place in range(3) for cell in range(16)]
    signs = [[{"+": 1, "-": -1, "0": 0}[padded[cell][place][0]] for cell in range(16)] for place in range(3)]
    with torch.inference_mode(False):  # else gradients could not be taken of what a viewer used first
        return (
            torch.tensor(entries, device=device),
            torch.tensor(signs, device=device, dtype=dtype),
            torch.eye(4, device=device, dtype=dtype).flatten(),
        )
