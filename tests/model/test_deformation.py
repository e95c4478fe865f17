"""Posing: rigid where one pose rules, bent between, shading fixed to the Gaussian."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from support.model_parts import make_gaussians, pose
from torch import Tensor

from being.model import Gaussians, Offsets, assemble
from being.model.deformation import _row_terms, quaternion_from_rotation
from being.raster import spherical_harmonics


def covariance(quats: Tensor, scales: Tensor) -> Tensor:
    rotation = torch.tensor(Rotation.from_quat(quats[:, [1, 2, 3, 0]].numpy()).as_matrix(), dtype=torch.float32)
    half = rotation * scales[:, None]
    return half @ half.transpose(1, 2)


def weighted(value: float) -> Gaussians:
    gaussians = make_gaussians(60)
    gaussians.head_weight.fill_(value)
    return gaussians


def test_rigid_where_one_pose_rules() -> None:
    """The covariance turns with the pose, and colour is that of the camera seen from the canonical frame."""
    head, torso = pose(1), pose(2)
    for weight, rules in ((1.0, head), (0.0, torso)):
        gaussians = weighted(weight)
        splats = assemble(gaussians, None, head[None], torso[None])
        rotation, translation = rules[:, :3], rules[:, 3]
        torch.testing.assert_close(splats.means, gaussians.xyz @ rotation.T + translation)
        still = covariance(gaussians.quats, gaussians.log_scales.exp())
        torch.testing.assert_close(
            covariance(splats.quats, splats.scales), rotation @ still @ rotation.T, atol=1e-5, rtol=1e-4
        )
        eye = -rotation.T @ translation
        direction = torch.nn.functional.normalize(gaussians.xyz - eye, dim=-1)
        torch.testing.assert_close(splats.colors, spherical_harmonics(gaussians.sh, direction), atol=1e-4, rtol=0)
        torch.testing.assert_close(splats.opacities, torch.sigmoid(gaussians.opacity_logits))


def test_bend_lies_between() -> None:
    head, torso = pose(1), pose(2)
    ends = [assemble(weighted(w), None, head[None], torso[None]) for w in (0.0, 0.5, 1.0)]
    torch.testing.assert_close(ends[1].means, (ends[0].means + ends[2].means) / 2)
    angles = [
        (
            Rotation.from_quat(ends[i].quats[:, [1, 2, 3, 0]])
            * Rotation.from_quat(ends[j].quats[:, [1, 2, 3, 0]]).inv()
        ).magnitude()
        for i, j in ((0, 1), (1, 2), (0, 2))
    ]
    np.testing.assert_allclose(angles[0], angles[1], atol=1e-4)
    np.testing.assert_allclose(angles[0] + angles[1], angles[2], atol=1e-3)


def test_half_turns_bend_the_short_way() -> None:
    """Frontal poses are half turns: their quaternions sit where signs flip."""
    turn = [np.diag([1.0, -1, -1]) @ Rotation.from_euler("y", a, degrees=True).as_matrix() for a in (-5, 5)]
    poses = [torch.tensor(np.c_[r, [0, 0, 8]], dtype=torch.float32)[None] for r in turn]
    gaussians = weighted(0.5)
    gaussians.quats.copy_(torch.tensor([1.0, 0, 0, 0]).expand_as(gaussians.quats))
    middle = assemble(gaussians, None, *poses).quats[0]
    assert abs(abs(middle[1].item()) - 1) < 1e-4


def test_quaternions() -> None:
    rotation = torch.tensor(Rotation.random(200, random_state=0).as_matrix(), dtype=torch.float32)
    rotation = torch.cat([rotation, torch.eye(3)[None], torch.diag(torch.tensor([-1.0, -1, 1]))[None]])
    back = Rotation.from_quat(quaternion_from_rotation(rotation)[:, [1, 2, 3, 0]].numpy()).as_matrix()
    np.testing.assert_allclose(back, rotation, atol=1e-5)


def test_gradients_reach_rotations_that_a_viewer_turned_first() -> None:
    _row_terms.cache_clear()
    rotation = torch.from_numpy(Rotation.random(3, random_state=2).as_matrix())
    with torch.inference_mode():
        seen = quaternion_from_rotation(rotation)
    learned = rotation.clone().requires_grad_()
    quaternions = quaternion_from_rotation(learned)
    quaternions[:, 1].sum().backward()
    assert torch.equal(seen, quaternions.detach()) and learned.grad is not None
    assert float(learned.grad.abs().sum()) > 0


def test_offsets_batch_and_gradient() -> None:
    gaussians = make_gaussians(20)
    generator = torch.Generator().manual_seed(0)
    shapes = {"xyz": (3,), "log_scales": (3,), "quats": (4,), "opacity_logits": (), "sh": (16, 3)}
    parts = {k: 0.1 * torch.randn(2, 20, *s, generator=generator) for k, s in shapes.items()}
    offsets = Offsets(**{name: part.requires_grad_() for name, part in parts.items()})
    heads, torsos = torch.stack([pose(1), pose(2)]), torch.stack([pose(3), pose(4)])
    splats = assemble(gaussians, offsets, heads, torsos)
    splats.validate()
    assert splats.offsets == (0, 20, 40)
    moved = Gaussians(**(gaussians.tensors() | {k: getattr(gaussians, k) + v[1].detach() for k, v in parts.items()}))
    alone = assemble(moved, None, heads[1:], torsos[1:])
    for name in ("means", "quats", "scales", "opacities", "colors"):
        torch.testing.assert_close(getattr(splats, name)[20:], getattr(alone, name), atol=1e-5, rtol=1e-4)
    sum(getattr(splats, n).sin().sum() for n in ("means", "quats", "scales", "opacities", "colors")).backward()  # type: ignore[union-attr]
    for name, part in parts.items():
        assert part.grad is not None and part.grad.isfinite().all() and part.grad.abs().sum() > 0, name
