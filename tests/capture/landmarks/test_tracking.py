"""From tracker output to a checked track, the 68 landmarks, the crop, the blinks, the dense mesh."""

from __future__ import annotations

import numpy as np
import pytest

from being.capture.findings import spans_in_words
from being.capture.landmarks.blink import LEFT_EYE, RIGHT_EYE, eye_closure
from being.capture.landmarks.mesh import dense_vertices
from being.capture.landmarks.tracking import IBUG_68, Track, checked_track, ibug_68, track_landmarks
from being.capture.video.crop import Crop, choose_crop
from being.errors import InputError


def face(x: float, y: float, height: float) -> np.ndarray:
    """A mesh (478, 3) that fills a box of the given height round (x, y)."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (478, 3))
    points[0, :2], points[1, :2] = (-0.4, -0.5), (0.4, 0.5)
    return (points * [0.8 * height, height, height] + [x, y, 0]).astype(np.float32)


def refused(meshes: list, faces: list[int]) -> str:
    with pytest.raises(InputError) as caught:
        checked_track(meshes, faces)
    assert caught.value.remedy
    return caught.value.problem


def test_what_is_no_portrait_is_refused() -> None:
    some = face(100, 100, 80)
    assert "No face" in refused([None] * 20, [0] * 20)
    assert "Two faces" in refused([some] * 20, [2] * 12 + [1] * 8)
    assert checked_track([some] * 10 + [None] * 10, [2] + [1] * 19).found.sum() == 10


def test_gaps_are_bridged() -> None:
    track = checked_track([None, face(0, 0, 50), None, None, face(30, 0, 50), face(30, 0, 50)], [1] * 6)
    assert track.points.dtype == np.float32 and np.isfinite(track.points).all()
    assert np.allclose(np.diff(track.points[:, 5, 0]), [0, 10, 10, 10, 0], atol=1e-4)
    assert track.found.tolist() == [False, True, False, False, True, True]


def test_brows_lie_between_their_edges() -> None:
    points = np.random.default_rng(0).normal(size=(2, 478, 3)).astype(np.float32)
    marks = ibug_68(points)
    assert marks.shape == (2, 68, 2) and len(set(IBUG_68)) == 68
    assert np.allclose(marks[:, 30], points[:, 4, :2])  # the tip of the nose
    assert np.allclose(marks[:, 19], (points[:, 105, :2] + points[:, 52, :2]) / 2)


def test_unknown_backend_is_refused() -> None:
    with pytest.raises(InputError, match="dlib"):
        track_landmarks([], backend="dlib")


def track_of(*boxes: tuple[float, float, float]) -> Track:
    points = np.stack([face(*box) for box in boxes])
    return Track(points, np.ones(len(boxes), bool), np.ones(len(boxes), np.int64))


def test_crop_holds_head_and_shoulders() -> None:
    track = track_of(*[(700 + 20 * np.sin(i), 400, 200) for i in range(50)])
    crop = choose_crop(track, 1920, 1080, (512, 512))
    assert crop.x0 % 2 == crop.y0 % 2 == crop.width % 2 == 0
    assert 500 <= crop.width <= 640
    assert crop.y0 < 300 - 0.4 * 200 and crop.y0 + crop.width > 500 + 0.6 * 200  # hair above, shoulders below
    assert abs(crop.x0 + crop.width / 2 - 700) < 30
    moved = crop.map(np.array([[crop.x0, crop.y0, 0], [crop.x0 + crop.width, crop.y0, 10]], np.float32), (512, 512))
    assert np.allclose(moved, [[0, 0, 0], [512, 0, 10 * 512 / crop.width]])


def test_crop_of_a_selfie_is_as_wide_as_the_picture() -> None:
    crop = choose_crop(track_of(*[(540, 800, 620)] * 10), 1080, 1920, (512, 512))
    assert crop.width == 1080 and crop.x0 == 0 and 0 <= crop.y0 <= 840


@pytest.mark.parametrize(("film", "size"), [((1080, 1920), (720, 1280)), ((1920, 1080), (1920, 1080))])
def test_a_crop_of_the_film_s_shape_is_the_film(film: tuple[int, int], size: tuple[int, int]) -> None:
    crop = choose_crop(track_of(*[(film[0] / 2, 600, 500)] * 10), *film, size)
    assert crop == Crop(0, 0, *film)
    moved = crop.map(np.array([[*film, 10]], np.float32), size)
    assert np.allclose(moved, [[*size, 10 * size[0] / film[0]]])


@pytest.mark.parametrize("size", [(512, 768), (768, 512)])
def test_a_crop_has_the_shape_of_the_pictures_and_holds_the_square(size: tuple[int, int]) -> None:
    track = track_of(*[(960, 400, 200)] * 20)
    square, crop = (choose_crop(track, 1920, 1080, one) for one in ((512, 512), size))
    assert crop.width / crop.height == pytest.approx(size[0] / size[1], rel=0.01)
    assert crop.x0 <= square.x0 and crop.x0 + crop.width >= square.x0 + square.width
    assert crop.y0 == square.y0 and crop.height >= square.height
    assert crop.x0 + crop.width <= 1920 and crop.y0 + crop.height <= 1080


def test_crop_refuses_faces_that_leave_or_are_tiny() -> None:
    with pytest.raises(InputError, match="leaves the picture"):
        choose_crop(track_of(*[(20, 400, 300)] * 10), 1080, 1080, (512, 512))
    with pytest.raises(InputError, match="30 pixels high"):
        choose_crop(track_of(*[(500, 400, 30)] * 10), 1080, 1080, (512, 512))
    with pytest.raises(InputError, match="one crop holds it in only"):  # from one side of a wide picture to the other
        choose_crop(track_of(*[(200 + 42 * i, 500, 400) for i in range(52)]), 2560, 1080, (512, 512))
    assert Crop(0, 0, 10, 10).map(np.ones((1, 2), np.float32), (20, 20)).tolist() == [[2, 2]]


def test_a_face_that_leaves_for_a_while_leaves_the_other_frames() -> None:
    there, away = [(700, 500, 300)] * 30, [(1790, 500, 300)] * 12
    track = track_of(*there, *away)
    crop = choose_crop(track, 1920, 1080, (512, 512))
    held = crop.holds(track.points)
    assert held[:30].all() and not held[30:].any()
    assert crop.x0 < 550 and crop.x0 + crop.width > 850 and crop.width > 700
    assert spans_in_words(~held) == "at 1.2 to 1.7 s"


def eyes(opening: np.ndarray, yaw: np.ndarray) -> np.ndarray:
    """Meshes (T, 478, 3) whose lids are `opening` (T, 2) apart, the head turned by `yaw` (T,) radians."""
    points = np.zeros((len(opening), 478, 3), np.float32)
    for eye, ((left, right), lids) in enumerate((RIGHT_EYE, LEFT_EYE)):
        points[:, left, 0], points[:, right, 0] = 40 * eye, 40 * eye + 30
        for upper, lower in lids:
            points[:, [upper, lower], 0] = 40 * eye + 15
            points[:, upper, 1], points[:, lower, 1] = -opening[:, eye] / 2, opening[:, eye] / 2
    x = points[..., 0].copy()
    points[..., 0], points[..., 2] = x * np.cos(yaw)[:, None], x * np.sin(yaw)[:, None]
    return points


def test_blinks_are_found_whatever_the_eyes_and_the_turn() -> None:
    times = np.arange(250)
    true = np.zeros(250)
    for start in (30, 100, 104, 180, 230):
        true = np.maximum(true, np.clip(1.4 - np.abs(times - start) / 2.0, 0, 1))
    noise = np.random.default_rng(0).normal(0, 0.15, (250, 2))
    opening = (1 - 0.85 * true)[:, None] * np.array([9.0, 6.0]) + noise  # one eye is narrower
    closure = eye_closure(eyes(opening, 0.5 * np.sin(times / 20)))
    assert closure.dtype == np.float32 and closure.min() >= 0 and closure.max() <= 1
    assert closure[true == 0].max() < 0.15 and closure[true == 1].min() > 0.8
    assert np.corrcoef(closure, true)[0, 1] > 0.95


def test_eyes_that_stay_open_do_not_blink() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (200, 2))
    assert eye_closure(eyes(8.0 + noise, np.zeros(200))).max() < 0.1


def test_mesh_is_split_without_doubles() -> None:
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [9, 9, 9.0]])
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    once = dense_vertices(square, triangles, 1)
    assert len(once) == 9 and len(dense_vertices(square, triangles, 3)) == 81
    assert {tuple(p) for p in once.tolist()} == {(x / 2, y / 2, 0.0) for x in range(3) for y in range(3)}
