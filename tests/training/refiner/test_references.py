"""References from footage: what is fixed to the face comes back at the right place of frames that were left out."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F

from being.refine.native.network import box_blurred
from being.refine.native.references import View, unprojected
from being.training.refiner.pairs import Pairs, packed, unpacked
from being.training.refiner.references import (
    COARSER,
    candidates,
    choose,
    guides,
    own_guides,
    pictures,
    size_of,
    view_of,
)

COUNT, SIDE = 12, 96


def turning_plane() -> Pairs:
    """A grey plane 8 dm away that turns and shifts; the film shows freckles on it, the render does not."""
    random = torch.Generator().manual_seed(1)
    freckles = F.interpolate(torch.rand(1, 3, 40, 40, generator=random), size=(320, 320), mode="bicubic")
    camera = (300.0, 300.0, SIDE / 2, SIDE / 2)
    poses = torch.eye(3, 4).repeat(COUNT, 1, 1)
    depth = torch.zeros(COUNT, SIDE, SIDE)
    at = (torch.arange(SIDE) + 0.5 - SIDE / 2) / 300
    for row in range(COUNT):
        angle = torch.tensor(0.03 * (row - COUNT / 2))
        poses[row, :, :3] = torch.tensor([[angle.cos(), 0, angle.sin()], [0, 1, 0], [-angle.sin(), 0, angle.cos()]])
        poses[row, :, 3] = torch.tensor([0.02 * row, -0.01 * row, 8.0])
        normal = poses[row, :, 2]  # the plane z = 0 of head space
        rays = torch.stack([at[None].expand(SIDE, -1), at[:, None].expand(-1, SIDE), torch.ones(SIDE, SIDE)], -1)
        depth[row] = (normal @ poses[row, :, 3]) / (rays @ normal)
    points = unprojected(depth, poses, torch.tensor([camera]).expand(COUNT, 4))
    seen = F.grid_sample(freckles.expand(COUNT, -1, -1, -1), points[..., :2] / 2, align_corners=False)
    truth = (80 + 60 * seen).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
    return Pairs(
        frames=torch.arange(COUNT),
        renders=torch.full((COUNT, SIDE, SIDE, 3), 110, dtype=torch.uint8),
        truth=truth,
        alpha=torch.full((COUNT, SIDE, SIDE), 255, dtype=torch.uint8),
        plate=torch.zeros(SIDE, SIDE, 3, dtype=torch.uint8),
        windows=torch.tensor([[8, 8, 88, 88]] * COUNT),
        boxes=torch.tensor([[16.0, 16, 80, 80]] * COUNT),
        lips=torch.tensor([[32.0, 48, 64, 64]] * COUNT),
        seen=torch.ones(COUNT, dtype=torch.bool),
        avatars=torch.zeros(COUNT, dtype=torch.int64),
        head_poses=poses,
        depth=depth.half(),
        camera=camera,
    )


def test_what_is_fixed_to_the_face_is_found_again_in_another_frame() -> None:
    pairs = turning_plane()
    count, texels = size_of(pairs)
    assert (count, texels) == (COUNT, 128)
    chosen = choose(pairs, count, texels)
    assert sorted(chosen.frames.tolist()) == list(range(COUNT))
    found = unpacked(guides(pairs, chosen, torch.arange(COUNT), gap=2))[:, :3, 16:80, 16:80]
    lacking = ((pairs.truth.float() - pairs.renders.float()) / 255).permute(0, 3, 1, 2)
    wanted = (lacking - box_blurred(lacking, COARSER))[..., 16:80, 16:80]
    unexplained = (wanted - found).square().sum((1, 2, 3)) / wanted.square().sum((1, 2, 3))
    assert float(unexplained.max()) < 0.05


def test_frames_in_which_the_head_was_lost_are_no_references() -> None:
    pairs = turning_plane()
    pairs.renders[4] = 250
    pairs.seen[7] = False
    assert sorted(candidates(pairs).tolist()) == [row for row in range(COUNT) if row not in (4, 7)]
    assert size_of(pairs)[0] == COUNT - 2
    assert not {4, 7} & set(choose(pairs, 10, 128).frames.tolist())
    pairs.seen[:] = False
    assert size_of(pairs)[0] == 0


def test_guides_as_bytes_come_back() -> None:
    guide = torch.cat([torch.rand(2, 3, 8, 8) - 0.5, torch.rand(2, 1, 8, 8)], 1)
    torch.testing.assert_close(unpacked(packed(guide)), guide, atol=0.51 / 255, rtol=0)


def test_frames_within_the_gap_are_not_shown_to_each_other() -> None:
    pairs = turning_plane()
    chosen = choose(pairs, 5, 128)
    assert len(set(chosen.frames.tolist())) == 5
    near = chosen.too_near(pairs.frames, 3)
    for row in range(COUNT):
        assert near[row].tolist() == [abs(row - frame) <= 3 for frame in chosen.frames.tolist()]
    view: View = view_of(pairs, torch.tensor([2]))
    assert view.depth.shape == (1, 1, SIDE, SIDE) and pictures(pairs.truth, torch.tensor([2])).shape == (
        1,
        3,
        SIDE,
        SIDE,
    )


def test_pairs_of_a_fold_are_guided_by_what_its_own_avatar_lacks() -> None:
    """Two avatars that err differently: the guide of a pair is its own avatar's error, not the other's."""
    one, two = turning_plane(), turning_plane()
    two.renders[:] = two.truth
    two.renders[..., 0] += 20 * (torch.arange(SIDE) // 8 % 2)[None, :, None].byte()
    two.avatars[:] = 1
    two.seen[::2] = False
    names = (
        "frames",
        "renders",
        "truth",
        "alpha",
        "windows",
        "boxes",
        "lips",
        "seen",
        "avatars",
        "head_poses",
        "depth",
    )
    both = replace(one, **{name: torch.cat([getattr(one, name), getattr(two, name)]) for name in names})
    chosen = choose(both, COUNT, 128)
    found = unpacked(own_guides(both, chosen))
    alone = unpacked(guides(one, choose(one, COUNT, 128), torch.arange(COUNT)))
    torch.testing.assert_close(found[:COUNT], alone)
    # The second errs in red alone.
    assert (found[COUNT:, 1:3, 16:80, 16:80].abs() < 2 / 255).all()
