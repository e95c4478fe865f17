"""References from footage: what is fixed to the face comes back at the right place of frames that were left out."""

from __future__ import annotations

from dataclasses import replace

import torch
from support.turning_plane import COUNT, SIDE, turning_plane

from being.refine.native.network import box_blurred
from being.refine.native.references import View
from being.training.refiner.pairs import packed, unpacked
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
