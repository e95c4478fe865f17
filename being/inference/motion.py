"""Endless natural motion from a short recording: idle and talking streams without seams, blended without jerks.

The recording is cut into idle and talking clips. Each kind becomes one loop: its clips in a shuffled order, each joined
to the next by carrying over the pose and velocity that the picture has at the join and letting that offset die away
along a cubic Hermite curve (rotation as a rotation vector), so position and velocity are continuous everywhere, the
loop's own end included. Expressions go along with the poses of their clip. A frame's pose is a table look-up; between
idle and talking a critically damped spring moves the blend weight, whose velocity is continuous too.

What costs time is not the arithmetic but the calls: `play` moves all sessions of a tick in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from being.avatar.motion import Motion
from being.inference import quaternions

FloatArray = npt.NDArray[np.float32]
Track = npt.NDArray[np.float64]

ROUNDS = 4  # orders in which a loop plays its clips before it repeats
MIN_CLIP = 12  # frames; shorter pauses and words are not clips of their own
MIN_STREAM = 50  # frames (2 s) of one kind under which that kind is derived from the other
SHORTEST_JOIN, LONGEST_JOIN = 16, 50  # frames over which a join's offset dies away
EYE_JOIN = 4  # frames; a blink is short, so its offset has to be
EYE_OPEN = 0.25  # closure under which the blink loop may be cut
IDLE_FROM_TALKING = 0.5  # amplitude and speed of idle motion where only talking was recorded
SPRING_PER_FRAME = 0.12  # natural frequency of the idle/talking blend, 1/frames: settles in about 1.6 s at 25 fps


@dataclass(frozen=True)
class Pose:
    """Where the person is in one frame: (3, 4) float32 head and torso poses, eye closure and emotion (E,) in [0, 1]."""

    head_pose: FloatArray
    torso_pose: FloatArray
    eye: float
    emotion: FloatArray


@dataclass(frozen=True)
class Moves:
    """T frames of motion: head_pose and torso_pose (T, 3, 4), eye (T,), emotion (T, E), all float32."""

    head_pose: FloatArray
    torso_pose: FloatArray
    eye: FloatArray
    emotion: FloatArray


@dataclass(frozen=True)
class MotionState:
    """Where a live sequence stands: the next frame's number, and the spring between idle (0) and talking (1)."""

    frame: int = 0
    weight: float = 0.0
    velocity: float = 0.0


class MotionPlayer:
    """Idle and talking motion of one avatar; the same motion and seed always give the same poses."""

    def __init__(self, motion: Motion, seed: int = 0) -> None:
        generator = np.random.default_rng(seed)
        poses = (_to_track(motion.head_pose), _to_track(motion.torso_pose))
        track = np.concatenate([*poses, motion.emotion.astype(np.float64)], axis=1)
        talking = _clips(track, motion.talking)
        idle = _clips(track, ~motion.talking)
        if sum(map(len, talking)) < MIN_STREAM:
            talking = talking + idle if idle else [_to_and_fro(track)]
        if sum(map(len, idle)) < MIN_STREAM:
            idle = [_calmed(clip) for clip in talking]
        self._idle = _loop(idle, generator)
        self._talking = _loop(talking, generator)
        self._eye = _eye_loop(motion.eye)
        self._eye_start = int(generator.integers(len(self._eye)))

    def pose(self, frame: int, talking: bool | float) -> Pose:
        """The pose of a frame, a pure function; `talking` may be a weight between idle (0) and talking (1)."""
        weight = float(np.clip(talking, 0, 1))
        (moves,) = _moves([self], np.array([[frame]]), np.array([[weight]]))
        return Pose(moves.head_pose[0], moves.torso_pose[0], float(moves.eye[0]), moves.emotion[0])

    def step(self, state: MotionState, talking: bool) -> tuple[Pose, MotionState]:
        """The pose at `state`, and the state of the next frame; live sessions carry the state themselves."""
        (moves,), (after,) = play([self], np.array([[talking]]), [state])
        return Pose(moves.head_pose[0], moves.torso_pose[0], float(moves.eye[0]), moves.emotion[0]), after

    def sequence(self, talking: npt.NDArray[np.bool_], state: MotionState | None = None) -> tuple[Moves, MotionState]:
        """All frames of `talking` (T,) at once, and the next state; equals T calls of `step`."""
        (moves,), (after,) = play([self], talking[None], [state or MotionState()])
        return moves, after

    def tracks(self, frames: npt.NDArray[np.int64]) -> tuple[Track, Track, FloatArray]:
        """Idle and talking track (T, 14 + E) and eye closure (T,) of these frame numbers (T,)."""
        eye = self._eye[(frames + self._eye_start) % len(self._eye)]
        return self._idle[frames % len(self._idle)], self._talking[frames % len(self._talking)], eye


def play(
    players: Sequence[MotionPlayer], talking: npt.NDArray[np.bool_], states: Sequence[MotionState]
) -> tuple[list[Moves], list[MotionState]]:
    """The next T frames of S sessions in one pass: the same numbers, bit for bit, as one session after the other.

    players : S, of one avatar or of several; the same object may stand there more than once.
    talking : (S, T). states : S, where each session stands.
    """
    if not players:
        return [], []
    count = talking.shape[1]
    firsts = np.array([state.frame for state in states], np.int64)
    weight = np.array([state.weight for state in states])
    velocity = np.array([state.velocity for state in states])
    weights = np.empty(talking.shape)
    for index in range(count):
        weights[:, index] = weight
        weight, velocity = _spring(weight, velocity, talking[:, index].astype(np.float64))
    moves = _moves(players, firsts[:, None] + np.arange(count), weights)
    after = zip(states, weight.tolist(), velocity.tolist(), strict=True)
    return moves, [MotionState(state.frame + count, *spring) for state, *spring in after]


def _moves(players: Sequence[MotionPlayer], frames: npt.NDArray[np.int64], weights: Track) -> list[Moves]:
    """Moves of S sessions at frame numbers (S, T), blended by weights (S, T)."""
    sessions, count = frames.shape
    places: dict[MotionPlayer, list[int]] = {}
    for place, player in enumerate(players):
        places.setdefault(player, []).append(place)
    found = [player.tracks(frames[own].reshape(-1)) for player, own in places.items()]
    order = [place for own in places.values() for place in own]  # sessions of one player behind each other
    idle, talking = (np.concatenate([tracks[kind][:, POSES] for tracks in found]) for kind in (0, 1))
    # Head and torso are mixed alike: one call for both, of all frames.
    shares = weights[order].reshape(-1)
    poses = _to_poses(_mix(_parts(idle), _parts(talking), np.concatenate([shares, shares])))
    poses = poses.reshape(2, sessions, count, 3, 4)
    eyes = np.concatenate([closure for _, _, closure in found]).reshape(sessions, count)
    faces: list[FloatArray] = []
    for (still, lively, _), own in zip(found, places.values(), strict=True):
        mixed = still[:, FACE] + (lively[:, FACE] - still[:, FACE]) * weights[own].reshape(-1, 1)
        faces += list(mixed.astype(np.float32).reshape(len(own), count, -1))
    return [Moves(poses[0, row], poses[1, row], eyes[row], faces[row]) for row in np.argsort(order)]


# A track is (T, 14 + E): quaternion x y z w and translation of the head, then of the torso; then the emotions.
HEAD, TORSO, POSES, FACE = slice(0, 7), slice(7, 14), slice(0, 14), slice(14, None)


def _to_track(poses: FloatArray) -> Track:
    quats = Rotation.from_matrix(np.asarray(poses[:, :, :3], np.float64)).as_quat()
    return np.concatenate([quats, poses[:, :, 3]], axis=1)


def _to_poses(part: Track) -> FloatArray:
    poses = np.empty((len(part), 3, 4), np.float32)
    poses[:, :, :3], poses[:, :, 3] = quaternions.matrices(part[:, :4]), part[:, 4:]
    return poses


def _mix(a: Track, b: Track, weight: Track) -> Track:
    """Slerp of the quaternions, linear in translation; weight (T,), 0 gives a."""
    mixed = a + (b - a) * weight[:, None]
    mixed[:, :4] = quaternions.mixed(a[:, :4], b[:, :4], weight)
    return mixed


def _clips(track: Track, wanted: npt.NDArray[np.bool_]) -> list[Track]:
    """Runs of wanted frames, at least MIN_CLIP long."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], wanted, [False]]).astype(np.int8)))
    return [track[start:stop] for start, stop in edges.reshape(-1, 2) if stop - start >= MIN_CLIP]


def _to_and_fro(track: Track) -> Track:
    """A recording too short for any clip, played forth and back until it fills MIN_STREAM frames."""
    round_trip = np.concatenate([track, track[::-1]])
    return np.tile(round_trip, (-(-MIN_STREAM // len(round_trip)), 1))


def _calmed(clip: Track) -> Track:
    """Half the amplitude at half the speed: somebody listening, made of somebody talking."""
    times = np.arange(0, len(clip) - 1 + 1e-9, IDLE_FROM_TALKING)
    before = np.minimum(times.astype(int), len(clip) - 2)
    share = times - before
    parts = []
    for part in (HEAD, TORSO):
        slow = _mix(clip[before, part], clip[before + 1, part], share)
        quats, shifts = clip[:, part][:, :4], clip[:, part][:, 4:]
        middle = np.concatenate([Rotation.from_quat(quats).mean().as_quat(), shifts.mean(axis=0)])
        parts.append(_mix(np.broadcast_to(middle, slow.shape), slow, np.full(len(slow), IDLE_FROM_TALKING)))
    face = clip[before, FACE] + (clip[before + 1, FACE] - clip[before, FACE]) * share[:, None]
    parts.append(IDLE_FROM_TALKING * (face + clip[:, FACE].mean(axis=0)))
    return np.concatenate(parts, axis=1)


def _loop(clips: list[Track], generator: np.random.Generator) -> Track:
    """One seamless loop over the clips, (P, 14 + E).

    The longest clip stands first and is played once more at the end: by then the offset of its own join has died away,
    so the loop runs from behind the first playing to the end of the second.
    """
    first = max(range(len(clips)), key=lambda index: len(clips[index]))
    order = [first]
    for _ in range(ROUNDS):
        # A clip never follows itself where there is another.
        shuffled = list(generator.permutation(len(clips)))
        if len(clips) > 1 and shuffled[0] == order[-1]:
            shuffled = shuffled[1:] + shuffled[:1]
        order += shuffled
    if order[-1] != first or len(order) == 1:
        order.append(first)
    longest_join = min(LONGEST_JOIN, len(clips[first]) - 1)
    pace = _usual_pace(clips)
    played = [clips[first]]
    for index in order[1:]:
        played.append(_joined(played[-1], clips[index], pace, longest_join))
    return np.concatenate(played[1:])


def _usual_pace(clips: list[Track]) -> Track:
    """Brisk speed of the recording: rotation and translation of head and torso a frame (90th percentile), (4,)."""
    turns, shifts = [], []
    for part in (HEAD, TORSO):
        before = np.concatenate([clip[:-1, part] for clip in clips])
        after = np.concatenate([clip[1:, part] for clip in clips])
        turn, shift = _difference(after, before)
        turns.append(np.percentile(np.linalg.norm(turn, axis=1), 90))
        shifts.append(np.percentile(np.linalg.norm(shift, axis=1), 90))
    return np.maximum([turns[0], shifts[0], turns[1], shifts[1]], 1e-5)


def _joined(before: Track, clip: Track, pace: Track, longest: int) -> Track:
    """`clip` shifted so that it continues `before` in position and velocity, the shift dying away."""
    last_but_one, last = before[-2, POSES].reshape(2, 7), before[-1, POSES].reshape(2, 7)  # of head and torso
    first, second = clip[0, POSES].reshape(2, 7), clip[1, POSES].reshape(2, 7)
    # The offset one frame before the clip's first frame: what was shown, against the clip run backwards.
    turn, shift = _difference(last, _extrapolated(first, second))
    turn_velocity = _difference(last, last_but_one)[0] - _difference(second, first)[0]
    shift_velocity = (last - last_but_one)[:, 4:] - (second - first)[:, 4:]
    distances = np.sqrt([np.square(turn).sum(axis=1), np.square(shift).sum(axis=1)]).T.reshape(-1)
    # The steepest slope of the Hermite curve is 1.5 times its mean slope: stay near the recording's own pace.
    frames = int(np.clip(np.ceil(1.5 * np.max(distances / pace)), SHORTEST_JOIN, LONGEST_JOIN))
    frames = max(1, min(frames, longest, len(clip)))
    time = np.minimum(np.arange(1, len(clip) + 1) / frames, 1)[:, None]
    value_curve = (1 - time) ** 2 * (1 + 2 * time)
    slope_curve = time * (1 - time) ** 2 * frames
    turns = (turn[:, None] * value_curve + turn_velocity[:, None] * slope_curve).reshape(-1, 3)
    shifts = (shift[:, None] * value_curve + shift_velocity[:, None] * slope_curve).reshape(-1, 3)
    poses = _parts(clip)
    turned = quaternions.product(quaternions.from_rotvec(turns), poses[:, :4])
    joined = np.concatenate([turned, poses[:, 4:] + shifts], axis=1).reshape(2, len(clip), 7)
    last, last_but_one, first, second = before[-1, FACE], before[-2, FACE], clip[0, FACE], clip[1, FACE]
    jump = (last - (2 * first - second)) * value_curve + ((last - last_but_one) - (second - first)) * slope_curve
    return np.concatenate([*joined, np.clip(clip[:, FACE] + jump, 0, 1)], axis=1)


def _parts(track: Track) -> Track:
    """Head poses, then torso poses (2 T, 7) of a track (T, 14 + E)."""
    return np.concatenate([track[:, HEAD], track[:, TORSO]])


def _difference(a: Track, b: Track) -> tuple[Track, Track]:
    """Rotation vector (T, 3) of a b⁻¹, and translation a - b (T, 3)."""
    turn = quaternions.product(a[:, :4], quaternions.inverse(b[:, :4]))
    return quaternions.to_rotvec(turn), a[:, 4:] - b[:, 4:]


def _extrapolated(first: Track, second: Track) -> Track:
    """Where a clip would have been one frame before its first frame."""
    turn, shift = _difference(first, second)
    quats = quaternions.product(quaternions.from_rotvec(turn), first[:, :4])
    return np.concatenate([quats, first[:, 4:] + shift], axis=1)


def _eye_loop(eye: FloatArray) -> FloatArray:
    """The recorded blinks as a loop, from one moment of open eyes to another; (P,) float32 closure."""
    open_frames = np.flatnonzero(eye < EYE_OPEN)
    if len(open_frames) >= 2 and open_frames[-1] - open_frames[0] >= len(eye) // 2:
        eye = eye[open_frames[0] : open_frames[-1] + 1]
    looped = eye.astype(np.float64)
    fade = np.arange(1, min(EYE_JOIN, len(eye)) + 1) / (EYE_JOIN + 1)
    looped[: len(fade)] += (eye[-1] - eye[0]) * (1 - fade) ** 2 * (1 + 2 * fade)
    return np.clip(looped, 0, 1).astype(np.float32)


def _spring(weight: Track, velocity: Track, target: Track) -> tuple[Track, Track]:
    """One frame of critically damped springs (S,), exact: they never overshoot and their velocity never jumps."""
    distance = weight - target
    decay = float(np.exp(-SPRING_PER_FRAME))
    drive = velocity + SPRING_PER_FRAME * distance
    moved = (distance + drive) * decay
    speed = (velocity - SPRING_PER_FRAME * drive) * decay
    return np.clip(target + moved, 0.0, 1.0), speed
