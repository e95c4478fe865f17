"""Reference frames: geometry there and back, mixing against its plain form, and weights that change steadily."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F

from being.refine.native.references import (
    CELLS,
    NODES,
    NUGGET,
    References,
    View,
    mixed,
    projected,
    unprojected,
)

COUNT, TEXELS, SIDE = 12, 128, 64


def plane(count: int, turned: float = 0.0) -> View:
    """A plane 8 dm away that fills the crops, seen by heads turned a little."""
    poses = torch.eye(3, 4).repeat(count, 1, 1)
    poses[:, 2, 3] = 8
    for row in range(count):
        angle = torch.tensor(turned * row)
        poses[row, 0, 0] = poses[row, 2, 2] = angle.cos()
        poses[row, 0, 2], poses[row, 2, 0] = angle.sin(), -angle.sin()
    return View(torch.full((count, 1, SIDE, SIDE), 8.0), torch.tensor([[300.0, 300, 32, 32]]).repeat(count, 1), poses)


def some(seed: int = 0) -> References:
    """References of random differences on a plane."""
    random = torch.Generator().manual_seed(seed)
    references = References(COUNT, TEXELS)
    view = plane(1)
    references.pose.copy_(view.poses[0])
    references.camera.copy_(2 * view.cameras[0])
    coarse = torch.full((1, TEXELS // 4, TEXELS // 4), 8.0)
    references.points.copy_(unprojected(coarse, view.poses, view.cameras / 2)[0])
    references.covered.fill_(1)
    references.thumbs.copy_(255 * torch.rand(references.thumbs.shape, generator=random))
    references.solve()
    shape = references.differences.shape
    references.differences.copy_(torch.randint(98, 158, shape, generator=random, dtype=torch.uint8))
    return references


def test_pixels_come_back_from_space() -> None:
    view = plane(3, 0.2)
    points = unprojected(view.depth[:, 0], view.poses, view.cameras)
    at = torch.arange(SIDE) + 0.5
    wanted = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).expand(3, -1, -1, -1)
    torch.testing.assert_close(projected(points, view.poses, view.cameras), wanted, atol=1e-3, rtol=1e-4)


def test_a_mix_is_the_references_under_weights_that_are_bilinear_between_the_nodes() -> None:
    references, weights = some(), torch.rand(2, COUNT, NODES, NODES)
    side = TEXELS // CELLS
    at = (torch.arange(TEXELS) + 0.5) / side / CELLS * 2 - 1
    grid = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).expand(2, -1, -1, -1)
    everywhere = F.grid_sample(weights, grid, align_corners=True)
    wanted = torch.einsum("nmyx,mcyx->ncyx", everywhere, (references.differences.float() - 128) / 255)
    torch.testing.assert_close(mixed(references.cells(torch.float32), weights), wanted, atol=1e-5, rtol=1e-4)


def test_the_reference_that_looks_like_the_crop_is_laid_onto_it() -> None:
    references, view = some(), plane(2)
    crops = torch.rand(2, 3, SIDE // 8, SIDE // 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    thumbs = references.thumbnails(crops, view)
    references.thumbs[3:5] = thumbs
    references.solve()
    guide = references(crops, view)
    assert guide.shape == (2, 4, SIDE, SIDE)
    for row in range(2):
        shown = (references.differences[3 + row : 4 + row].float() - 128) / 255
        wanted = F.interpolate(shown, scale_factor=0.5, mode="bicubic")[0]
        assert (guide[row, :3] - wanted).abs().mean() < 0.2 * wanted.abs().mean()
    assert guide[:, 3].max() < 0.05
    excluded = torch.zeros(2, COUNT, dtype=torch.bool)
    excluded[0, 3] = True
    without = references(crops, view, excluded=excluded)
    assert (without[0, :3] - guide[0, :3]).abs().mean() > 0.02 and without[0, 3].min() > 0.1
    torch.testing.assert_close(without[1], guide[1], atol=1e-4, rtol=0)


def test_nothing_is_laid_where_nobody_is_and_nothing_where_all_are_excluded() -> None:
    references, view = some(), plane(1)
    view.depth[:, :, :20] = 0
    guide = references(torch.rand(1, 3, SIDE, SIDE), view)
    assert (guide[:, :, :20] == 0).all() and (guide[:, :3, 20:] != 0).any()
    none = references(torch.rand(1, 3, SIDE, SIDE), view, excluded=torch.ones(1, COUNT, dtype=torch.bool))
    assert (none[:, :3] == 0).all() and torch.isfinite(none).all()


def test_weights_are_those_of_the_kriging_equations() -> None:
    references = some()
    thumbs = 0.6 * references.thumbs[:2] + 0.4 * references.thumbs[5:7]
    excluded = torch.zeros(2, COUNT, dtype=torch.bool)
    excluded[1, 4:9] = True
    for away in (torch.zeros_like(excluded), excluded):
        weights, _ = references.weights(thumbs, away if away.any() else None)
        for row, kept in enumerate((~away).unbind(0)):
            left = references.thumbs[kept]
            far = torch.stack([references.distances(thumb[None])[0, kept, 4, 5] for thumb in left]).double()
            here = references.distances(thumbs[row : row + 1])[0, kept, 4, 5].double()
            inside, beside = (torch.exp(-part / references.reach[4, 5].double()) for part in (far, here))
            # The plain form: least variance under weights that add up to 1, by a multiplier.
            inverse = torch.linalg.inv(inside + NUGGET * torch.eye(len(left)))
            multiplier = (1 - (inverse @ beside).sum()) / inverse.sum()
            wanted = inverse @ (beside + multiplier)
            torch.testing.assert_close(weights[row, kept, 4, 5], wanted.float(), atol=1e-4, rtol=1e-3)
            assert (weights[row, ~kept] == 0).all()


def test_weights_change_steadily_and_are_nearly_all_on_a_reference_that_is_met() -> None:
    references = some()
    first, second = references.thumbs[:1], references.thumbs[1:2]
    steps = [references.weights(first + share * (second - first))[0] for share in torch.linspace(0, 1, 101)]
    for weights in steps:
        torch.testing.assert_close(weights.sum(1), torch.ones(1, NODES, NODES))
    # From one to the other a weight moves by about 1 in 100 steps; a reference that came in at once would jump.
    assert max(float((b - a).abs().max()) for a, b in pairwise(steps)) < 0.1
    assert steps[0][:, 0].min() > 0.8 and steps[-1][:, 1].min() > 0.8


def test_one_reference_alone_is_always_taken() -> None:
    references = References(1, TEXELS)
    references.covered.fill_(1)
    references.solve()
    weights, _ = references.weights(255 * torch.rand(2, 3, TEXELS // 8, TEXELS // 8))
    torch.testing.assert_close(weights, torch.ones(2, 1, NODES, NODES))
