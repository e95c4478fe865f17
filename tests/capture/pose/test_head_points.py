"""A head whose points are followed in pictures, and poses turned to what such points say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

cv2 = pytest.importorskip("cv2", reason="opencv comes with being[clone]")

from being.capture.landmarks.head_shape import RIGID
from being.capture.parsing.face_regions import FACE_OVAL
from being.capture.pose.head_points import HeadPoints, follow_head, richest
from being.capture.pose.refinement import refine_pose
from being.capture.pose.solve import solve_pose
from being.dataset.parsing import HEAD
from being.dataset.pose import FLIP

SIDE, FOCAL, AWAY = 256, 410.0, 8.0


def oval(middle: NDArray[np.float64]) -> NDArray[np.float32]:
    """A mesh (478, 3) whose face oval is a circle round `middle`, everything else at its lower end."""
    mesh = np.zeros((478, 3), np.float32)
    mesh[:, :2] = middle + np.array((0, 55))
    turn = np.linspace(0, 2 * np.pi, len(FACE_OVAL), endpoint=False)
    mesh[list(FACE_OVAL), :2] = middle + 60 * np.stack([np.sin(turn), -np.cos(turn)], axis=1)
    return mesh


def test_points_are_followed_through_motion_and_light() -> None:
    random = np.random.default_rng(4)
    wall = cv2.GaussianBlur(random.integers(0, 255, (SIDE, SIDE, 3), np.uint8), (0, 0), 1.5)
    skin = cv2.GaussianBlur(random.integers(0, 255, (SIDE, SIDE, 3), np.uint8), (0, 0), 2.5)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(mask, (128, 128), 70, 1, -1)
    motions, pictures, labels = [], [], []
    for index in range(12):
        motion = cv2.getRotationMatrix2D((128, 128), 1.2 * (index - 6), 1 + 0.02 * (index - 6))  # also near and far
        motion[:, 2] += (1.5 * (index - 6), 0.7 * (index - 6))
        motions.append(motion)
        moved = cv2.warpAffine(mask, motion, (SIDE, SIDE), flags=cv2.INTER_NEAREST)
        light = 0.6 + 0.06 * index  # the light changes
        face = cv2.warpAffine(skin, motion, (SIDE, SIDE)) * light
        pictures.append(np.where(moved[..., None] > 0, face, wall).astype(np.uint8))
        labels.append(np.where(moved > 0, HEAD, 0).astype(np.uint8))
    meshes = np.repeat(oval(np.array((128.0, 128.0)))[None], 12, axis=0)
    for mesh, motion in zip(meshes, motions, strict=True):
        mesh[:, :2] = mesh[:, :2] @ motion[:, :2].T + motion[:, 2]
    head = follow_head(pictures, labels, meshes, 6)
    assert head.pixels.shape == (12, head.seen.shape[1], 2) and head.seen.shape[1] > 30
    assert head.seen[6].all() and head.seen.mean() > 0.7  # near the rim the wall shows that stands still
    start = head.pixels[6].astype(np.float64) - 0.5
    assert (np.linalg.norm(start - 128, axis=1) < 70).all()  # on the head
    for index, motion in enumerate(motions):
        away = head.pixels[index] - 0.5 - (start @ motion[:, :2].T + motion[:, 2])
        assert np.median(np.linalg.norm(away, axis=1)[head.seen[index]]) < 0.5
    nobody = [np.zeros_like(each) for each in labels]
    assert follow_head(pictures, nobody, meshes, 6).seen.shape == (12, 0)


def test_the_frame_with_the_most_points_is_chosen() -> None:
    skin = cv2.GaussianBlur(np.random.default_rng(4).integers(0, 255, (SIDE, SIDE, 3), np.uint8), (0, 0), 2.5)
    smeared = np.where(np.arange(SIDE)[:, None, None] < 150, 128, skin).astype(np.uint8)
    pictures, labels = [smeared, skin, skin], [np.full((SIDE, SIDE), HEAD, np.uint8)] * 3
    meshes = np.repeat(oval(np.array((128.0, 128.0)))[None], 3, axis=0)
    assert richest(pictures, labels, meshes, [0, 2, 1]) == 2  # of equal ones the first that is named
    assert richest(pictures, labels, meshes, [0]) == 0


def clip(nod_seen: float) -> tuple[NDArray, NDArray, HeadPoints]:
    """True rotations (T, 3, 3), a mesh (T, 478, 3) that shows only a share of the nods, and points that show all."""
    random = np.random.default_rng(1)
    flat = np.stack([random.uniform(-0.7, 0.7, 560), random.uniform(-0.85, 0.85, 560)], axis=1)
    shape = np.column_stack(
        [flat, 0.9 * np.sqrt(np.clip(1 - (flat[:, 0] / 0.95) ** 2 - (flat[:, 1] / 1.2) ** 2, 0, 1))]
    )
    for left, right, x, y in ((33, 263, 0.445, 0.27), (133, 362, 0.17, 0.25), (127, 356, 0.7, 0.2), (234, 454, 0.7, 0)):
        shape[left], shape[right] = (-x, y, 0.5 - x * x), (x, y, 0.5 - x * x)
    shape[10], shape[152], shape[1], shape[4] = (0, 0.9, 0.5), (0, -0.95, 0.5), (0, -0.2, 1.0), (0, -0.1, 1.0)
    t = np.arange(90) / 25
    nod, shake = np.radians(4 * np.sin(2.2 * t)), np.radians(6 * np.sin(1.3 * t))

    def seen(nods: NDArray) -> tuple[NDArray, NDArray]:
        turns = FLIP @ Rotation.from_rotvec(np.stack([nods, shake, 0 * t], axis=1)).as_matrix()
        at = np.einsum("tij,kj->tki", turns, shape) + np.array((0, 0, AWAY))
        pixels = FOCAL * at[..., :2] / at[..., 2:] + SIDE / 2
        return turns, np.concatenate([pixels, FOCAL * (at[..., 2:] - AWAY) / AWAY], axis=2)

    turns, true = seen(nod)
    mesh = seen(nod_seen * nod)[1][:, :478].astype(np.float32)
    followed = (true[:, 478:, :2] + random.normal(0, 0.1, (len(t), 82, 2))).astype(np.float32)
    there = random.random((len(t), 82)) > 0.2
    followed[:, :4] += random.normal(0, 8, (len(t), 4, 2)).astype(np.float32)  # some are no points of the head
    return turns, mesh, HeadPoints(np.where(there[..., None], followed, 0), there, 45)


def test_points_of_the_head_set_the_turns_right() -> None:
    turns, mesh, points = clip(nod_seen=0.4)
    found = np.ones(len(mesh), bool)
    known = solve_pose(mesh, found, SIDE, SIDE, focal=FOCAL)

    def wrong(poses: NDArray) -> float:
        solved = poses[:, :, :3].astype(np.float64)
        constant = Rotation.from_matrix(turns.transpose(0, 2, 1) @ solved).mean().as_matrix()
        apart = Rotation.from_matrix((turns @ constant).transpose(0, 2, 1) @ solved).magnitude()
        return float(np.degrees(np.sqrt(np.mean(apart**2))))

    refined = refine_pose(known, mesh, found, points)
    assert wrong(known.poses) > 1.4  # 60% of the nods are missing
    assert wrong(refined.poses) < 0.5 * wrong(known.poses)
    assert refined.focal == known.focal and refined.rms_px == known.rms_px


def test_a_mesh_that_rises_in_blinks_does_not_lift_the_head() -> None:
    _, mesh, points = clip(nod_seen=1.0)
    shut = np.isin(np.arange(len(mesh)), (20, 21, 22, 55, 56))
    mesh[shut, :, 1] -= 4
    found = np.ones(len(mesh), bool)
    known = solve_pose(mesh, found, SIDE, SIDE, focal=FOCAL)
    refined = refine_pose(known, mesh, found, points)

    def lifted(poses: NDArray) -> float:
        height = FOCAL * poses[:, 1, 3] / AWAY
        return float(np.median(height[~shut]) - height[shut].mean())

    assert lifted(known.poses) > 1.5
    assert abs(lifted(refined.poses)) < 0.3
    assert FOCAL * refined.poses[:, :2, 3].std(axis=0).max() / AWAY < 0.4
    at = np.einsum("tij,kj->tki", refined.poses[:, :, :3], refined.shape) + refined.poses[:, None, :, 3]
    away = FOCAL * at[..., :2] / at[..., 2:] + SIDE / 2 - mesh[..., :2]
    assert np.abs(away[~shut][:, list(RIGID)].mean(axis=(0, 1))).max() < 0.6  # the face is where the mesh has it


def test_without_enough_points_the_mesh_has_the_last_word() -> None:
    _, mesh, points = clip(nod_seen=1.0)
    found = np.ones(len(mesh), bool)
    known = solve_pose(mesh, found, SIDE, SIDE, focal=FOCAL)
    few = HeadPoints(points.pixels[:, :8], points.seen[:, :8], points.reference)
    assert refine_pose(known, mesh, found, few) is known
