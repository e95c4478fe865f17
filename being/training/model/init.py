"""The first Gaussians: pixels of a few well-chosen frames, lifted onto a rough head, neck and torso.

The head is an ellipsoid whose width and height come from the masks and whose depth comes from landmarks triangulated
over the whole clip; neck and torso start on the plane through the head's middle. Points that leave the person in other
frames are dropped (a visual hull). Training moves everything afterwards; what it cannot repair is a missing region or a
wrong share of head and torso motion, so those are what this file is careful about.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from being.dataset.landmarks import EYES, MOUTH
from being.dataset.parsing import BACKGROUND, HEAD, NECK
from being.errors import InputError
from being.extern.inria import neighbour_spacing
from being.model.gaussians import SH_COEFFICIENTS, SH_DC, Gaussians
from being.training.data.face import face_region, landmarks_of
from being.training.data.footage import Footage, boxes_of
from being.training.model.part_labels import NECK_GATE

Array = NDArray[np.float64]

SOURCE_FRAMES = 6  # frames that give points
HULL_FRAMES = 24  # frames that may veto a point
HULL_VETO = 0.25  # share of those frames in which a point may lie outside the person
JAW_ENDS, FACE_FRONT = (0, 16), slice(27, 68)  # iBUG landmarks beside the ears; nose, eyes and mouth
START_OPACITY = 0.8


@dataclass(frozen=True)
class HeadShape:
    """An ellipsoid in head space: centre (3,) and radii (3,) in dm."""

    centre: Array
    radii: Array


def seed_gaussians(
    footage: Footage, count: int, generator: np.random.Generator, vertices: NDArray[np.float32] | None = None
) -> Gaussians:
    """About `count` Gaussians on the CPU (never more).

    `vertices` (V, 3), where the dataset has a mesh, replace the ellipsoid's depth where they cover it.
    """
    intrinsics = footage.intrinsics.cpu().double().numpy()
    heads = footage.head_poses.cpu().double().numpy()
    torsos = footage.torso_poses.cpu().double().numpy()
    sources = source_frames(footage, heads)
    shape = head_shape(footage, heads, intrinsics, sources[0])
    share = np.full(len(sources), 0.5 / max(len(sources) - 1, 1))
    share[0] = 0.5 if len(sources) > 1 else 1.0
    clouds = []
    for index, part in zip(sources, share, strict=True):
        rows, columns = draw_pixels(footage, index, math.ceil(count * part), generator)
        pixels = np.stack([columns + 0.5, rows + 0.5], 1)
        labels = footage.labels(index)[rows, columns]
        points, weight = lift(pixels, labels, heads[index], torsos[index], intrinsics, shape, vertices)
        colours = footage.picture(index)[rows, columns] / 255.0
        clouds.append((points, weight, labels, colours))
    points, weight, labels, colours = (np.concatenate(part) for part in zip(*clouds, strict=True))
    inside = _inside_hull(footage, points, weight, heads, torsos, intrinsics)
    points, weight = points[inside][:count], weight[inside][:count]
    labels, colours = labels[inside][:count], colours[inside][:count]
    if len(points) < 16:
        raise InputError(
            "The masks and poses do not fit each other: no point of the head stays inside the masks",
            "Check parsing/ and track_params.pt of the dataset",
        )
    spacing = neighbour_spacing(points)
    reach = face_region(footage)(torch.from_numpy(points).float().to(footage.device)).cpu().numpy()
    gate = np.select([labels == HEAD, labels == NECK], [reach, NECK_GATE * weight], 0.0)
    return _as_gaussians(points, spacing, colours, weight, gate)


def source_frames(footage: Footage, heads: Array) -> list[int]:
    """The most ordinary training frame, then those whose poses differ most from all chosen, then the widest mouth."""
    train = np.array(footage.train)
    pose = np.concatenate([10 * heads[train][:, :, :3].reshape(-1, 9), heads[train][:, :, 3]], 1)
    ordinary = np.linalg.norm(pose - np.median(pose, 0), axis=1) + 2 * footage.closure[:, 0].cpu().numpy()[train]
    chosen = [int(ordinary.argmin())]
    distance = np.linalg.norm(pose - pose[chosen[0]], axis=1)
    while len(chosen) < min(SOURCE_FRAMES - 1, len(train)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(pose - pose[chosen[-1]], axis=1))
    chosen.append(int(footage.opening[train].argmax()))
    return list(dict.fromkeys(int(train[i]) for i in chosen))


def head_shape(footage: Footage, heads: Array, intrinsics: Array, frame: int) -> HeadShape:
    """The ellipsoid that fits the masks' width and height and the landmarks' depth."""
    marks = landmarks_of(footage)
    depth = float(marks[list(JAW_ENDS), 2].mean())
    rows, columns = np.nonzero(footage.labels(frame) == HEAD)
    if len(rows) == 0:
        raise InputError(f"parsing/{frame}.png shows no head", "Check the masks of the dataset")
    outline = on_plane(np.stack([columns + 0.5, rows + 0.5], 1), heads[frame], intrinsics, depth)
    low, high = np.percentile(outline[:, :2], 1, axis=0), np.percentile(outline[:, :2], 99, axis=0)
    middle, radii = (low + high) / 2, np.maximum((high - low) / 2, 1e-3)
    front = marks[FACE_FRONT]
    inside = ((front[:, :2] - middle) / radii) ** 2
    dome = np.sqrt(np.clip(1 - inside.sum(1), 0.05, 1.0))
    reach = float(np.median((front[:, 2] - depth) / dome))
    reach = float(np.clip(reach, 0.4 * radii[0], 1.5 * radii[0]))
    return HeadShape(np.array([*middle, depth]), np.array([*radii, reach]))


def draw_pixels(
    footage: Footage, frame: int, count: int, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows, columns) of person pixels: more where the picture has detail, and on mouth and eyes."""
    labels, image = footage.labels(frame), footage.picture(frame).astype(np.float32).mean(-1) / 255
    down, across = np.gradient(image)
    detail = np.hypot(down, across)
    chance = 0.3 + np.minimum(detail / max(float(np.percentile(detail, 99)), 1e-6), 1.0)
    chance *= np.array([0.0, 1.0, 0.7, 0.4])[labels]
    marks = footage.landmarks[frame : frame + 1]
    for part in (MOUTH, *EYES):
        x0, y0, x1, y1 = boxes_of(marks[:, part], 0.2)[0].round().astype(int)
        chance[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] *= 3.0
    flat = chance.ravel()
    if flat.sum() <= 0:
        raise InputError(f"parsing/{frame}.png shows nobody", "Check the masks of the dataset")
    picked = generator.choice(flat.size, size=min(count, int((flat > 0).sum())), replace=False, p=flat / flat.sum())
    return np.divmod(picked, footage.width)


def lift(
    pixels: Array,
    labels: NDArray[np.uint8],
    head: Array,
    torso: Array,
    intrinsics: Array,
    shape: HeadShape,
    vertices: NDArray[np.float32] | None = None,
) -> tuple[Array, Array]:
    """Canonical points (N, 3) and head weights (N,) of labelled pixels (N, 2) of one frame with its poses (3, 4).

    On the neck the weight rises smoothly from 0 at the collar to 1 under the jaw.
    """
    points = on_plane(pixels, torso, intrinsics, shape.centre[2])
    weight = np.where(labels == HEAD, 1.0, 0.0)
    neck = labels == NECK
    if neck.any():
        low, high = np.percentile(points[neck, 1], [5, 95])
        height = np.clip((points[neck, 1] - low) / max(high - low, 1e-6), 0, 1)
        weight[neck] = height * height * (3 - 2 * height)
        for row in np.flatnonzero(neck):
            blend = weight[row] * head + (1 - weight[row]) * torso
            points[row] = on_plane(pixels[row : row + 1], blend, intrinsics, shape.centre[2])[0]
    face = labels == HEAD
    points[face] = on_ellipsoid(pixels[face], head, intrinsics, shape)
    if vertices is not None and face.any():
        front = vertices[vertices[:, 2] > shape.centre[2]]
        gap, nearest = cKDTree(front[:, :2]).query(points[face][:, :2])
        covered = np.flatnonzero(face)[gap < 0.1]
        depth = front[nearest[gap < 0.1], 2]
        for row, z in zip(covered, depth, strict=True):
            points[row] = on_plane(pixels[row : row + 1], head, intrinsics, float(z))[0]
    return points, weight


def rays(pixels: Array, pose: Array, intrinsics: Array) -> tuple[Array, Array]:
    """Rays of pixels (N, 2) in canonical space: origin (3,) and directions (N, 3). `pose` (3, 4) need not be rigid."""
    fx, fy, cx, cy = intrinsics
    camera = np.stack([(pixels[:, 0] - cx) / fx, (pixels[:, 1] - cy) / fy, np.ones(len(pixels))], 1)
    inverse = np.linalg.inv(pose[:, :3])
    return -inverse @ pose[:, 3], camera @ inverse.T


def on_plane(pixels: Array, pose: Array, intrinsics: Array, depth: float) -> Array:
    """Where the rays of pixels (N, 2) meet the canonical plane z = depth, (N, 3)."""
    origin, direction = rays(pixels, pose, intrinsics)
    return origin + direction * ((depth - origin[2]) / direction[:, 2])[:, None]


def on_ellipsoid(pixels: Array, pose: Array, intrinsics: Array, shape: HeadShape) -> Array:
    """Where the rays first meet the ellipsoid, and the plane through its centre where they miss it, (N, 3)."""
    origin, direction = rays(pixels, pose, intrinsics)
    o, d = (origin - shape.centre) / shape.radii, direction / shape.radii
    a, b, c = (d * d).sum(1), d @ o, (o @ o) - 1
    root = b * b - a * c
    plane = origin + direction * ((shape.centre[2] - origin[2]) / direction[:, 2])[:, None]
    first = origin + direction * ((-b - np.sqrt(np.maximum(root, 0))) / a)[:, None]
    return np.where((root > 0)[:, None], first, plane)


def _inside_hull(
    footage: Footage, points: Array, weight: Array, heads: Array, torsos: Array, intrinsics: Array
) -> NDArray[np.bool_]:
    train = np.array(footage.train)
    frames = train[np.linspace(0, len(train) - 1, min(HULL_FRAMES, len(train))).astype(int)]
    fx, fy, cx, cy = intrinsics
    outside = np.zeros(len(points))
    for frame in frames:
        by_head = points @ heads[frame][:, :3].T + heads[frame][:, 3]
        by_torso = points @ torsos[frame][:, :3].T + torsos[frame][:, 3]
        camera = weight[:, None] * by_head + (1 - weight[:, None]) * by_torso
        column = np.floor(fx * camera[:, 0] / camera[:, 2] + cx).astype(int)
        row = np.floor(fy * camera[:, 1] / camera[:, 2] + cy).astype(int)
        seen = (column >= 0) & (column < footage.width) & (row >= 0) & (row < footage.height)
        label = footage.labels(frame)[row.clip(0, footage.height - 1), column.clip(0, footage.width - 1)]
        outside += seen & (label == BACKGROUND)
    return outside <= HULL_VETO * len(frames)


def _as_gaussians(points: Array, spacing: Array, colours: Array, weight: Array, gate: Array) -> Gaussians:
    count = len(points)
    size = np.clip(spacing, 3e-3, 0.15)
    sh = np.zeros((count, SH_COEFFICIENTS, 3))
    sh[:, 0] = (colours - 0.5) / SH_DC
    quats = np.tile([1.0, 0.0, 0.0, 0.0], (count, 1))
    opacity = np.full(count, math.log(START_OPACITY / (1 - START_OPACITY)))
    parts = (points, np.log(size)[:, None].repeat(3, 1), quats, opacity, sh, weight, gate)
    return Gaussians(*(torch.from_numpy(np.asarray(part)).float() for part in parts))


def bounding_box(
    gaussians: Gaussians, margin: float = 0.1
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """(maximum corner, minimum corner) of the centres, grown by `margin` of each side: the triplane's box."""
    low, high = gaussians.xyz.amin(0), gaussians.xyz.amax(0)
    grow = margin * (high - low) + 0.05
    top, bottom = (high + grow).tolist(), (low - grow).tolist()
    return (top[0], top[1], top[2]), (bottom[0], bottom[1], bottom[2])
