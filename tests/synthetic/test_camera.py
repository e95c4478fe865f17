"""A moving camera: the truth says where the head is seen, and mattes say exactly what is person."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from being.dataset import Dataset
from being.dataset.pose import project
from being.errors import InputError
from being.synthetic import generate, listen
from being.synthetic.camera import CAMERAS, film_with
from being.synthetic.cutout import cut_out
from being.synthetic.generate import render_as_filmed, truth
from being.synthetic.room import developed, draw_room
from being.synthetic.tracing import intrinsics

SIZE = 64


@pytest.mark.parametrize("kind", CAMERAS)
def test_poses_put_the_head_where_the_camera_saw_it(kind: str) -> None:
    clip = listen(2.0, seed=3)
    filming = film_with(kind, clip.head, SIZE, SIZE, seed=3)
    known = truth(clip, SIZE, SIZE, filming)
    points = np.random.default_rng(0).uniform(-0.6, 0.6, (40, 3))
    exact = filming.sees(clip.head)
    for i in (0, 20, 40):
        seen = project(points, exact[i], filming.intrinsics[i])
        told = project(points, known["head_pose"][i], known["intrinsics"])
        assert np.abs(seen - told).max() < 0.005 * SIZE  # a zoom changes perspective, which no pose can follow
    moved, still = (
        np.linalg.norm(np.diff(each["landmarks"], axis=0), axis=2).sum() for each in (known, truth(clip, SIZE, SIZE))
    )
    if kind == "still":
        assert moved == pytest.approx(still, rel=1e-3)
    elif kind == "follow":  # only turns are left
        assert moved < 0.95 * still
    else:
        assert moved > 1.2 * still


def test_a_matte_is_what_separates_two_backgrounds() -> None:
    clip = listen(0.4)
    cutout = cut_out(clip.state(0), SIZE, SIZE, intrinsics(SIZE, SIZE))
    black, white = (cutout.over(np.full(3, value, np.float32)).astype(int) for value in (0, 10))
    outside, inside = cutout.alpha == 0, cutout.alpha == 1
    assert (black[outside] == 0).all() and (white[outside] > 240).all()
    np.testing.assert_array_equal(black[inside], white[inside])
    assert 0 < ((cutout.alpha > 0) & (cutout.alpha < 1)).mean() < 0.2
    filming = film_with("pan", clip.head, SIZE, SIZE)
    frame = render_as_filmed(clip, 9, SIZE, SIZE, filming)
    assert frame.alpha is not None and frame.composited is not None
    np.testing.assert_array_equal(frame.image[frame.alpha == 1], frame.composited[frame.alpha == 1])
    room = draw_room(SIZE, SIZE, intrinsics(SIZE, SIZE))
    np.testing.assert_array_equal(frame.composited[frame.alpha == 0], developed(room)[frame.alpha == 0])
    away = np.abs(frame.image.astype(int) - frame.composited)[frame.alpha == 0]
    assert away.mean() > 1  # what is behind has moved


def test_lights_stay_in_the_room() -> None:
    """A camera that only turns sees the same colours elsewhere: its picture is the still one's through a homography."""
    cv2 = pytest.importorskip("cv2", reason="opencv comes with being[clone]")
    size = 128
    clip = listen(2.0, seed=3)
    filming = film_with("pan", clip.head, size, size, seed=3)
    index, state = 44, clip.state(44)
    view, camera = filming.poses[index], filming.camera(index)
    assert np.degrees(np.arccos(view[0, 0])) > 5
    fx, fy, cx, cy = camera
    onto = np.array([[fx, 0, cx - 0.5], [0, fy, cy - 0.5], [0, 0, 1]])
    still = cut_out(state, size, size, camera)
    shown = still.over(np.zeros(3, np.float32)).astype(np.float32)
    expected = cv2.warpPerspective(shown, onto @ view[:, :3] @ np.linalg.inv(onto), (size, size))
    moved = replace(state, head=filming.sees(clip.head)[index], torso=filming.sees(clip.torso)[index])
    apart = []
    for lights in (view[:, :3], np.eye(3)):
        seen = cut_out(replace(moved, lights=lights), size, size, camera)
        inside = cv2.erode((seen.alpha == 1).astype(np.uint8), np.ones((15, 15)), borderValue=0) > 0
        smooth = cv2.GaussianBlur(expected - seen.over(np.zeros(3, np.float32)), (0, 0), 2.0)
        apart.append(float(np.sqrt(np.square(smooth[inside]).mean())))
    assert apart[0] < 0.5 * apart[1], apart


def test_a_folder_filmed_by_a_moving_camera_has_mattes(tmp_path: Path) -> None:
    clip = listen(0.4, seed=2)
    data = Dataset(generate(tmp_path / "moving", performance=clip, size=(SIZE, SIZE), camera="hand"))
    assert data.has_mattes and data.alpha(3).shape == (SIZE, SIZE)
    np.testing.assert_array_equal(data.alpha(3)[data.parsing(3) == 0] < 255, True)
    outside = data.alpha(3) == 0
    assert np.abs(data.composited(3).astype(int) - data.background)[outside].mean() < 3
    assert not Dataset(generate(tmp_path / "still", performance=clip, size=(SIZE, SIZE))).has_mattes


def test_an_unknown_camera_is_refused() -> None:
    with pytest.raises(InputError, match="no camera 'drone'"):
        film_with("drone", listen(0.2).head, SIZE, SIZE)
