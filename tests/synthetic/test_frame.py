"""The character: where its truth says lips, lids and regions are, the picture shows them."""

from __future__ import annotations

import numpy as np
import pytest
from support.head_poses import pose_at

from being.dataset.parsing import BACKGROUND, HEAD, NECK, TORSO
from being.synthetic import FaceState, frame_truth, render_frame, rig, tracing

SIZE = 128


def near(image: np.ndarray, point: np.ndarray) -> np.ndarray:
    x, y = np.round(point - 0.5).astype(int)
    return image[y, x].astype(float)


def test_regions_are_where_a_portrait_has_them() -> None:
    labels = render_frame(FaceState(), SIZE, SIZE).parsing
    assert labels[4, 4] == BACKGROUND
    assert labels[SIZE // 2, SIZE // 2] == HEAD
    assert labels[-2, SIZE // 2] == TORSO
    heights = [np.nonzero(labels == k)[0].mean() for k in (HEAD, NECK, TORSO)]
    assert heights == sorted(heights)
    assert 0.15 < (labels == HEAD).mean() < 0.5


def test_any_size() -> None:
    frame = render_frame(FaceState(), 80, 48)
    assert frame.image.shape == (48, 80, 3)
    assert frame.landmarks[:, 0].mean() == pytest.approx(40, abs=4)


def test_landmarks_scale_with_the_picture() -> None:
    small, large = (frame_truth(FaceState(jaw=0.5), n, n).landmarks for n in (100, 400))
    np.testing.assert_allclose(4 * small, large, atol=1e-6)


def test_lips_are_red_and_teeth_show_between_the_inner_edges() -> None:
    frame = render_frame(FaceState(jaw=0.9), 2 * SIZE, 2 * SIZE)
    lip = near(frame.image, 0.5 * (frame.landmarks[57] + frame.landmarks[66]))
    cheek = near(frame.image, frame.landmarks[31] + (-20, 4))
    assert lip[0] - lip[1] > cheek[0] - cheek[1] + 15
    inside = near(frame.image, 0.5 * (frame.landmarks[62] + frame.landmarks[66]))
    assert inside.sum() < 0.6 * lip.sum()
    teeth = near(frame.image, frame.landmarks[62] + (0, 3))
    assert teeth.min() > inside.max()


@pytest.mark.parametrize(
    ("state", "closed"),
    [
        (FaceState(), True),
        (FaceState(jaw=0.6, press=1.0), True),
        (FaceState(jaw=0.3), False),
        (FaceState(jaw=0.3, press=0.5), False),
    ],
)
def test_lips_closed_agrees_with_the_opening(state: FaceState, closed: bool) -> None:
    truth = frame_truth(state, 512, 512)
    assert truth.lips_closed == closed
    assert (truth.mouth_open < 1.0) == closed


def test_a_wider_jaw_opens_the_mouth_further() -> None:
    openings = [frame_truth(FaceState(jaw=j), 512, 512).mouth_open for j in (0.0, 0.3, 0.6, 1.0)]
    assert np.all(np.diff(openings) > 5)


def test_a_blink_hides_the_iris() -> None:
    awake, asleep = (render_frame(FaceState(blink_left=b, blink_right=b), SIZE, SIZE) for b in (0.0, 1.0))
    centre = awake.landmarks[36:42].mean(0)
    assert near(awake.image, centre).sum() < 0.5 * near(asleep.image, centre).sum()
    for frame, low, high in ((awake, 0.2, 1.0), (asleep, -0.2, 0.06)):
        points = frame.landmarks[36:42]
        height = (points[[4, 5], 1] - points[[2, 1], 1]).mean()
        assert low < height / (points[3, 0] - points[0, 0]) < high


def test_gaze_moves_the_iris_and_nothing_else() -> None:
    left, right = (render_frame(FaceState(gaze_x=g), SIZE, SIZE) for g in (-0.3, 0.3))
    np.testing.assert_allclose(left.landmarks, right.landmarks)
    changed = np.nonzero(np.abs(left.image.astype(int) - right.image).max(-1) > 30)
    eyes = left.landmarks[36:48]
    assert eyes[:, 0].min() - 3 < changed[1].min() < changed[1].max() < eyes[:, 0].max() + 3
    assert eyes[:, 1].min() - 3 < changed[0].min() < changed[0].max() < eyes[:, 1].max() + 3


def test_a_turned_head_hides_the_far_jaw() -> None:
    frame = frame_truth(FaceState(head=pose_at(yaw=25)), 512, 512)
    assert not frame.visible[14:17].any()
    assert frame.visible[[30, 51, 57, 8]].all()


def test_the_nose_points_where_the_head_turns() -> None:
    nose = [frame_truth(FaceState(head=pose_at(yaw=a)), 512, 512).landmarks[30, 0] for a in (-15, 0, 15)]
    assert nose[0] < nose[1] - 10 < nose[1] + 10 < nose[2]
    chin = [frame_truth(FaceState(head=pose_at(pitch=a)), 512, 512).landmarks[8, 1] for a in (-10, 10)]
    assert chin[0] < chin[1]


def test_the_torso_stays_when_the_head_turns() -> None:
    rest, turned = (render_frame(FaceState(head=pose_at(yaw=a)), SIZE, SIZE) for a in (0, 12))
    low = slice(int(0.9 * SIZE), None)
    np.testing.assert_array_equal(rest.parsing[low], turned.parsing[low])
    assert (rest.parsing != turned.parsing).any()


def test_mediapipe_finds_face_lips_and_lids() -> None:
    face_mesh = pytest.importorskip("mediapipe", reason="mediapipe is not installed").solutions.face_mesh
    states = [FaceState(), FaceState(jaw=0.8), FaceState(round=1, jaw=0.3, head=pose_at(yaw=12)), FaceState(press=1)]
    lips = {62: 13, 66: 14, 51: 0, 57: 17, 48: 61, 54: 291}
    lids = {37: 160, 44: 387, 41: 144, 46: 373}
    with face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as mesh:
        for state in states:
            frame = render_frame(state, 256, 256)
            found = mesh.process(frame.image).multi_face_landmarks
            assert found, state
            points = found[0].landmark
            for pairs, limit in ((lips, 4.0), (lids, 7.0)):
                errors = [
                    np.hypot(*(np.array((points[m].x, points[m].y)) * 256 - frame.landmarks[k]))
                    for k, m in pairs.items()
                ]
                assert np.mean(errors) < limit, (state, errors)


@pytest.mark.parametrize("size", [512, 1920])
def test_no_tile_that_shows_the_person_is_skipped(size: int) -> None:
    """Cones are narrow in large pictures: none may slip along the silhouette."""
    p = rig.parameters(FaceState(head=pose_at(yaw=12, pitch=5), blink_left=1, blink_right=1))
    camera = tracing.intrinsics(size, size)
    starts = np.empty((size // tracing.TILE, size // tracing.TILE))
    tracing.coarse(size, size, *camera, p, starts)
    empty = np.argwhere(starts < 0)
    assert 0.2 < len(empty) / starts.size < 0.8
    for down, across in empty:
        for offset in (0.5, 0.5 * tracing.TILE, tracing.TILE - 0.5):
            place = (across * tracing.TILE + offset, down * tracing.TILE + offset)
            assert tracing.march(*place, *camera, tracing.NEAR, p)[0] < 0, (down, across)
