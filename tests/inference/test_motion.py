"""Motion: deterministic, the same frame by frame and all at once, and no seam faster than the recording's own pace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from support.tiny import make_motion

from being.avatar.motion import Motion
from being.inference.motion import MotionPlayer, MotionState, play

# Of `test_motion_of_a_seed_stays_what_it_was`: head translations, first rows of torso rotations, weight and velocity.
RECORDED_HEAD = [
    [-0.0439552553, 0.0487041548, 8.0],
    [0.0611857884, -0.0252964310, 8.0],
    [0.0785871372, -0.0441879518, 8.0],
    [-0.0612602122, 0.0267267153, 8.0],
]
RECORDED_TORSO = [
    [0.9999289513, 0.0025078722, 0.0116542028],
    [0.9999230504, -0.0035829889, 0.0118758250],
    [0.9997896552, -0.0046671275, -0.0199708175],
    [0.9999295473, 0.0037786914, 0.0112525541],
]
RECORDED_SPRING = [0.12560925789880983, -0.011795001509738936]


def angular_steps(poses: np.ndarray) -> np.ndarray:
    """Rotation vectors from each frame to the next, (T - 1, 3)."""
    turns = Rotation.from_matrix(poses[1:, :, :3]) * Rotation.from_matrix(poses[:-1, :, :3]).inv()
    return turns.as_rotvec()


def long_motion() -> Motion:
    """A minute in which talking and listening change every few seconds."""
    motion = make_motion(1500)
    return replace(motion, talking=(np.arange(1500) // 90) % 2 == 1)


def test_same_seed_same_motion() -> None:
    motion = long_motion()
    talking = np.ones(300, bool)
    first, again, other = (MotionPlayer(motion, seed).sequence(talking)[0].head_pose for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_steps_equal_the_sequence_and_pose_is_pure() -> None:
    player = MotionPlayer(long_motion())
    talking = (np.arange(200) // 50) % 2 == 1
    moves, end = player.sequence(talking)
    state = MotionState()
    for index, flag in enumerate(talking):
        again = player.pose(state.frame, state.weight)
        pose, state = player.step(state, bool(flag))
        assert np.array_equal(pose.head_pose, again.head_pose) and pose.eye == again.eye
        assert np.allclose(pose.head_pose, moves.head_pose[index], atol=1e-6)
        assert np.allclose(pose.torso_pose, moves.torso_pose[index], atol=1e-6) and pose.eye == moves.eye[index]
        assert np.allclose(pose.emotion, moves.emotion[index], atol=1e-6)
    assert state == end
    # A sequence goes on from its state as if it had not been cut.
    part, middle = player.sequence(talking[:77])
    rest, last = player.sequence(talking[77:], middle)
    assert np.array_equal(np.concatenate([part.head_pose, rest.head_pose]), moves.head_pose) and last == end


def test_many_sessions_at_once_move_as_one_by_one() -> None:
    """Bit for bit, whether they play the same avatar, another seed of it, or one with more emotions."""
    motion = long_motion()
    smiling = replace(motion, emotion=np.linspace(0, 1, 1500, dtype=np.float32)[:, None])
    players = [MotionPlayer(motion), MotionPlayer(smiling, seed=1), MotionPlayer(motion, seed=2)]
    random = np.random.default_rng(0)
    playing = [players[index % 3] for index in range(20)]
    states = [MotionState(int(random.integers(9999)), *random.random(2) * (1, 0.02)) for _ in playing]
    talking = random.random((20, 4)) > 0.5
    moves, after = play(playing, talking, states)
    for player, flags, state, together, end in zip(playing, talking, states, moves, after, strict=True):
        alone, own_end = player.sequence(flags, state)
        assert end == own_end
        for name in ("head_pose", "torso_pose", "eye", "emotion"):
            assert np.array_equal(getattr(together, name), getattr(alone, name))


def test_motion_of_a_seed_stays_what_it_was() -> None:
    """Recorded before sessions were moved together; a session that goes on must not jump at an upgrade."""
    moves, end = MotionPlayer(long_motion(), 3).sequence(np.arange(400) % 150 < 70)
    frames = [0, 77, 211, 399]
    assert np.allclose(moves.head_pose[frames, :, 3], RECORDED_HEAD, atol=1e-6)
    assert np.allclose(moves.torso_pose[frames, 0, :3], RECORDED_TORSO, atol=1e-6)
    assert np.allclose([end.weight, end.velocity], RECORDED_SPRING, atol=1e-9)


def test_poses_are_rotations_and_blinks_stay_in_range() -> None:
    moves, _ = MotionPlayer(long_motion()).sequence(np.arange(3000) % 400 < 200)
    for poses in (moves.head_pose, moves.torso_pose):
        turns = poses[:, :, :3].astype(float)
        assert np.abs(turns @ turns.transpose(0, 2, 1) - np.eye(3)).max() < 1e-5
        assert np.linalg.det(turns).min() > 0.99
    assert moves.eye.min() >= 0 and moves.eye.max() <= 1 and moves.eye.max() > 0.8


def test_expressions_go_with_their_poses_without_a_jump() -> None:
    """Where the head is high the recorded person smiles: played, both still come together, and slowly."""
    motion = long_motion()
    height = motion.head_pose[:, 1, 3]
    smile = ((height - height.min()) / np.ptp(height)).astype(np.float32)
    moves, _ = MotionPlayer(replace(motion, emotion=smile[:, None])).sequence(np.arange(3000) % 400 < 200)
    assert moves.emotion.shape == (3000, 1) and moves.emotion.min() >= 0 and moves.emotion.max() <= 1
    assert np.corrcoef(moves.emotion[:, 0], moves.head_pose[:, 1, 3])[0, 1] > 0.8
    assert np.abs(np.diff(moves.emotion[:, 0])).max() < 0.1
    assert MotionPlayer(motion).pose(3, True).emotion.shape == (0,)


def test_no_seams() -> None:
    """Over joins, loop ends and changes of mind, speed and acceleration stay near what was recorded."""
    motion = long_motion()
    player = MotionPlayer(motion)
    talking = np.random.default_rng(0).random(60).repeat(100) > 0.5
    head = player.sequence(talking)[0].head_pose
    recorded = np.linalg.norm(angular_steps(motion.head_pose), axis=1).max()
    assert np.linalg.norm(angular_steps(head), axis=1).max() < 3 * recorded
    jerk = np.abs(np.diff(angular_steps(head), axis=0)).max()
    assert jerk < 0.7 * recorded  # a cut would show as tens of times, a kink as up to twice the recorded speed
    shift = np.linalg.norm(np.diff(head[:, :, 3], axis=0), axis=1).max()
    assert shift < 3 * np.linalg.norm(np.diff(motion.head_pose[:, :, 3], axis=0), axis=1).max()


def test_talking_and_idle_show_what_was_recorded_as_such() -> None:
    motion = make_motion(400)
    higher = motion.head_pose.copy()
    higher[motion.talking, 1, 3] += 3  # talking happens 30 cm lower in the picture
    player = MotionPlayer(replace(motion, head_pose=higher))
    height = player.sequence(np.repeat([False, True, False], 300))[0].head_pose[:, 1, 3]
    assert height[:300].max() < 1 and height[400:600].min() > 2 and height[-50:].max() < 1


@pytest.mark.parametrize("frames", [2, 5, 20, 60])
@pytest.mark.parametrize("talking", [False, True])
def test_any_recording_will_do(frames: int, talking: bool) -> None:
    motion = replace(make_motion(frames), talking=np.full(frames, talking))
    moves, _ = MotionPlayer(motion).sequence(np.arange(500) % 100 < 50)
    head, torso, eye = moves.head_pose, moves.torso_pose, moves.eye
    assert np.isfinite(head).all() and np.isfinite(torso).all() and np.isfinite(eye).all()
    recorded = np.abs(np.diff(motion.head_pose[:, :, 3], axis=0)).max()
    assert np.abs(np.diff(head[:, :, 3], axis=0)).max() < 5 * recorded + 1e-4


def test_nobody_moves_where_nobody_is() -> None:
    assert play([], np.zeros((0, 1), bool), []) == ([], [])
