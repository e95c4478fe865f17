"""The face's box in many frames at once, and in one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from being.avatar.library import Library
from being.inference.frames import Drive, Extras
from being.inference.renderable import RenderableAvatar

LEFT_OUT = 0.02  # of the points, at each side


@pytest.fixture(scope="module")
def renderable() -> RenderableAvatar:
    return RenderableAvatar(Library().load("demo"), torch.device("cpu"))


def box_of_its_own(renderable: RenderableAvatar, pose: np.ndarray, width: int, height: int) -> list[float]:
    """By the definition, one frame at a time; NaN where nothing of the face is to be seen."""
    seen = [point for point in (pose[:, :3] @ renderable._face + pose[:, 3:]).T if point[2] > 0]
    if not seen:
        return [float("nan")] * 4
    fx, fy, cx, cy = renderable.intrinsics(width, height)
    outer = int(LEFT_OUT * (len(seen) - 1))
    box = []
    for focal, centre, axis, side in ((fx, cx, 0, width), (fy, cy, 1, height)):
        line = sorted(point[axis] / point[2] for point in seen)
        box.append([min(max(focal * float(line[end]) + centre, 0.0), side) for end in (outer, len(seen) - 1 - outer)])
    (x0, x1), (y0, y1) = box
    return [x0, y0, x1, y1] if x1 > x0 and y1 > y0 else [float("nan")] * 4


@pytest.mark.parametrize("size", [(512, 512), (256, 192), (360, 640)])
def test_boxes_of_many_frames_are_those_of_each(renderable: RenderableAvatar, size: tuple[int, int]) -> None:
    poses = renderable.avatar.motion.head_pose[:12].copy()
    poses[3, 2, 3] *= -1  # behind the camera
    poses[5, 2, 3] = -np.median(poses[5, 2, :3] @ renderable._face)  # the camera stands in the midst of the face
    poses[7, 0, 3] += 40  # beside the frame
    found = renderable.face_boxes(poses, *size)
    wanted = np.array([box_of_its_own(renderable, pose, *size) for pose in poses])
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    assert np.isnan(found[[3, 7]]).all() and np.isfinite(found[[0, 5, 11]]).all()
    for pose, box in zip(poses, found.tolist(), strict=True):
        assert renderable.face_box(pose, *size) == (None if np.isnan(box[0]) else tuple(box))


def test_extras_in_place_of_a_drives_own_change_nothing_else() -> None:
    pose = np.eye(3, 4, dtype=np.float32)
    drive = Drive("a", np.zeros((8, 16, 4), np.float32), 0.5, pose, pose, width=64, index=7, refine=0.25)
    other = drive.with_extras(Extras.DEPTH)
    assert other.extras is Extras.DEPTH and drive.extras is Extras.ALPHA
    assert {**vars(other), "extras": drive.extras} == vars(drive)
