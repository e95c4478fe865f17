from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from being.dataset import Dataset
from being.dataset.landmarks import mouth_opening, triangulate
from being.dataset.parsing import HEAD, NECK, TORSO
from being.dataset.pose import pose_of_tracking, project
from being.training.config import FitConfig
from being.training.data.footage import Footage, boxes_of, split_frames
from being.training.model.init import HeadShape, lift, on_ellipsoid, seed_gaussians

INTRINSICS = np.array([400.0, 400.0, 64.0, 64.0])


@pytest.fixture(scope="module")
def footage(clip: Path) -> Footage:
    data = Dataset(clip)
    contexts = np.random.default_rng(0).normal(size=(data.frames, 8, 16, 4)).astype(np.float32)
    return Footage(data, contexts, FitConfig(inner_block=0.1), torch.device("cpu"))


def test_triangulation_finds_points_a_turning_head_shows() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(6, 3))
    poses = pose_of_tracking(rng.normal(0, 0.15, (40, 3)), rng.normal(0, 0.1, (40, 3)) - [0, 0, 8]).astype(float)
    seen = np.stack([project(points, pose, INTRINSICS) for pose in poses]).astype(np.float32)
    np.testing.assert_allclose(triangulate(seen, poses, INTRINSICS), points, atol=0.02)
    still = np.repeat(poses[:1], 40, 0)
    depth = triangulate(np.repeat(seen[:1], 40, 0), still, INTRINSICS)[:, 2]
    assert np.abs(depth).max() < 8  # nothing to see depth by: it must stay near the head, not fly off


def test_rays_meet_the_near_side_of_the_ellipsoid() -> None:
    pose = pose_of_tracking([0, 0, 0], [0, 0, -8]).astype(float)
    shape = HeadShape(np.array([0.0, 0.1, 0.2]), np.array([0.8, 1.0, 0.7]))
    pixels = project([[0.0, 0.1, 0.9], [3.0, 0.0, 0.2]], pose, INTRINSICS)
    points = on_ellipsoid(pixels, pose, INTRINSICS, shape)
    np.testing.assert_allclose(points, [[0.0, 0.1, 0.9], [3.0, 0.0, 0.2]], atol=1e-6)


def test_lifted_points_project_onto_their_pixels() -> None:
    rng = np.random.default_rng(1)
    head, torso = (pose_of_tracking(rng.normal(0, 0.1, 3), [0, 0.1 * k, -8]).astype(float) for k in (0, 1))
    pixels = rng.uniform(40, 90, (60, 2))
    labels = np.repeat(np.array([HEAD, NECK, TORSO], np.uint8), 20)
    shape = HeadShape(np.zeros(3), np.array([0.8, 1.0, 0.7]))
    points, weight = lift(pixels, labels, head, torso, INTRINSICS, shape)
    assert (weight[:20] == 1).all() and (weight[40:] == 0).all()
    assert 0 <= weight[20:40].min() < 0.1 and 0.9 < weight[20:40].max() <= 1
    for point, share, pixel in zip(points, weight, pixels, strict=True):
        # a blend of two poses of one point is what the model draws
        camera = share * (head[:, :3] @ point + head[:, 3]) + (1 - share) * (torso[:, :3] @ point + torso[:, 3])
        np.testing.assert_allclose(camera[:2] / camera[2] * 400 + 64, pixel, atol=0.7)


def test_seeds_look_like_the_person(footage: Footage) -> None:
    gaussians = seed_gaussians(footage, 800, np.random.default_rng(0)).validate()
    assert 700 <= gaussians.count <= 800
    on_head = gaussians.head_weight == 1
    assert 0.3 < float(on_head.float().mean()) < 0.95
    assert float(gaussians.audio_gate[on_head].median()) == 1
    assert float(gaussians.audio_gate[gaussians.head_weight == 0].max()) == 0
    # they stand on the person in a frame that gave none of them
    frame = footage.held_out.end[-1]
    poses = (footage.head_poses[frame].numpy(), footage.torso_poses[frame].numpy())
    by_head, by_torso = (project(gaussians.xyz.numpy(), p, footage.intrinsics.numpy()) for p in poses)
    weight = gaussians.head_weight.numpy()[:, None]
    column, row = (weight * by_head + (1 - weight) * by_torso).astype(int).T
    inside = (column >= 0) & (column < footage.width) & (row >= 0) & (row < footage.height)
    assert (footage.labels(frame)[row[inside], column[inside]] > 0).mean() > 0.95


def test_split_cuts_a_block_from_the_middle_and_keeps_the_end(clip: Path) -> None:
    data = Dataset(clip)
    train, held_out = split_frames(data, 0.1)
    assert held_out.end == data.split.val and len(held_out.inner) == round(len(data.split.train) * 0.1)
    assert sorted((*train, *held_out.inner, *held_out.end)) == list(range(data.frames))
    assert held_out.inner == tuple(range(held_out.inner[0], held_out.inner[-1] + 1))
    assert train[0] < held_out.inner[0] and held_out.inner[-1] < train[-1]


def test_draws_are_repeatable_noisy_and_favour_open_mouths(footage: Footage) -> None:
    a, b = (footage.draw(8, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(a.truth, b.truth) and torch.equal(a.audio, b.audio)
    exact = footage.batch([footage.train[0]])
    assert exact.truth.shape == (1, footage.height, footage.width, 3) and float(exact.truth.max()) <= 1
    generator = torch.Generator().manual_seed(0)
    poses = torch.cat([footage.draw(64, generator).head_pose for _ in range(10)])
    which = (poses[:, None] == footage.head_poses[None]).all(-1).all(-1).float().argmax(1).numpy()
    assert set(which) <= set(footage.train)
    assert footage.opening[which].mean() > footage.opening[list(footage.train)].mean()


def test_boxes_and_opening() -> None:
    points = np.array([[[10.0, 10.0], [20.0, 14.0]]], np.float32)
    assert boxes_of(points, 0.5)[0].tolist() == [5, 5, 25, 19]
    marks = np.zeros((3, 68, 2), np.float32)
    marks[:, 45, 0] = 10
    marks[:, 66, 1] = [0, 1, 2]
    opening = mouth_opening(marks)
    assert opening[0] == 0 and opening[2] == 1 and 0.4 < opening[1] < 0.6
