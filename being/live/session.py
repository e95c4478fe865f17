"""A session: one client of one avatar. Its sound, playhead, generation and motion; it draws nothing itself.

The clock is the session's own: frame t shows while the samples [640 t, 640 t + 640) of its sound are heard. Sound that
arrives is laid down as early as it can still be heard and seen: after what frames already asked for have read. Where
nothing was said there is silence, and silence is drawn like any sound.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from being.constants import FPS, SOUND_RATE
from being.errors import InputError
from being.inference.motion import MotionPlayer, MotionState, Moves, play
from being.live.audio_timeline import AudioTimeline
from being.live.emotion import EmotionTargets
from being.live.requests import FRAME_SAMPLES, AvatarFacts, Fade, FrameRequest, OutputFormat
from being.live.session_state import SessionState, background_name

FloatArray = npt.NDArray[np.float32]

OUTPUT_RATIO = SOUND_RATE // (FRAME_SAMPLES * FPS)  # output samples for one of 16 kHz
OUTPUT_FRAME = FRAME_SAMPLES * OUTPUT_RATIO  # 1920 samples of 48 kHz a video frame
FADE_WEIGHTS = (2 / 3, 1 / 3)  # of the old sound in the first frames after an interruption; then none
CUT_FADE_S = 0.01  # the heard sound fades this fast at an interruption: no click, no rest of a word
SPEECH_RMS = 10 ** (-45 / 20)  # a frame of sound louder than this is somebody talking
MARGIN = FRAME_SAMPLES // 4  # 10 ms: how much later than the one before sound may come, until a network has shown worse
LONGEST_MARGIN = 3 * FRAME_SAMPLES  # 120 ms
STEADY_FRAMES = 10 * FPS  # after so long without a gap the margin shrinks by a step
LONGEST_GAP_S = 1.0  # sound that stays away longer was a pause, not a network out of breath
QUIET_STEP = FRAME_SAMPLES // 4  # 10 ms: pieces of silence that may be left out
HANGOVER = 12  # frames that a talker keeps moving like one after the last sound: pauses between words are not idleness


@dataclass(frozen=True)
class Limits:
    """What one session may hold.

    onset_s: sound that must have arrived before an utterance starts, so that the next chunk may be late (0 for files).
    buffered_s: sound that may wait to be heard; speech synthesis delivers faster than real time.
    """

    onset_s: float = 0.05
    buffered_s: float = 120.0


@dataclass(frozen=True, eq=False)
class Take:
    """The next frames of a session: what to draw, and what is heard meanwhile, (1920 n, channels) at 48 kHz."""

    request: FrameRequest
    sound: FloatArray


class Session:
    """State of one client; every method is told the time, in seconds of any steady clock.

    Its attributes are all of the state there is of a session, in one object that one worker holds; `state` is all of it
    as one plain value, from which another worker goes on (`restored`).

    Parameters
    ----------
    id : str
    avatar : AvatarFacts
    output : OutputFormat
        Size and background; may be replaced between frames.
    channels : int
        Of the sound that is heard.
    seed : int
        Of the motion.
    player : MotionPlayer
        The avatar's of this seed, if there is one already: making it takes half a second, and sessions may share it.
    limits : Limits
    """

    def __init__(
        self,
        id: str,
        avatar: AvatarFacts,
        output: OutputFormat,
        *,
        channels: int = 1,
        seed: int = 0,
        player: MotionPlayer | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.id = id
        self.avatar = avatar
        self.output = output
        self.generation = 0
        self.next_frame = 0
        """The playhead: the first frame nobody has asked for yet."""
        self._channels = channels
        self._seed = seed
        self._limits = limits or Limits()
        self._player = player or MotionPlayer(avatar.motion, seed)
        self._motion = MotionState()
        self.before_frames: Callable[[], None] | None = None
        """Called before the next frames are taken: who holds sound that has arrived brings it now."""
        self.emotion_targets = EmotionTargets(avatar.motion.emotion.shape[1])
        self._model_timeline = AudioTimeline()  # 16 kHz mono: what the audio contexts are made of
        self._playback_timeline = AudioTimeline(channels)  # 48 kHz: what the client plays
        self._committed = 0  # 16 kHz position up to which frames have read the line
        self._inbox: list[tuple[FloatArray, FloatArray]] = []
        self._inbox_since = 0.0
        self._utterance_over = False
        self._utterance_complete = True  # what was laid down last was the end of an utterance
        self._slip = 0  # samples that sound waits longer than it must: repaid from the speaker's own pauses
        self._margin = MARGIN  # samples that sound should wait, because the next may be late
        self._steady_since = 0  # frame
        self._old_timeline: AudioTimeline | None = None
        self._cut_frame = 0
        self._last_speech = -HANGOVER - 1  # frame

    @property
    def waiting_s(self) -> float:
        """Seconds of sound that have arrived and were not heard yet."""
        on_line = max(0, self._model_timeline.end - FRAME_SAMPLES * self.next_frame)
        return (on_line + self._inbox_samples) / (FRAME_SAMPLES * FPS)

    @property
    def spare_s(self) -> float:
        """Seconds that the newest sound has waited for the frame just taken, if sound flows; negative if it is late."""
        return (self._model_timeline.end - self._committed) / (FRAME_SAMPLES * FPS)

    @property
    def talking(self) -> bool:
        """Whether somebody talked within the last moment before the playhead."""
        return self.next_frame - self._last_speech <= HANGOVER

    def push_audio(self, model_pcm: FloatArray, playback_pcm: FloatArray, now: float) -> None:
        """Sound has arrived: (S,) at 16 kHz for the model, and the same (3 S, channels) at 48 kHz for playback.

        Raises
        ------
        InputError
            More sound waits than the session may hold; none of this block was taken.
        """
        if playback_pcm.shape != (OUTPUT_RATIO * len(model_pcm), self._channels):
            raise ValueError(f"sound {playback_pcm.shape} at 48 kHz does not belong to {model_pcm.shape} at 16 kHz")
        if self.waiting_s + len(model_pcm) / (FRAME_SAMPLES * FPS) > self._limits.buffered_s:
            raise InputError(
                f"more than {self._limits.buffered_s:g} s of sound would wait to be heard", "Send it as it is spoken"
            )
        if not self._inbox:
            self._inbox_since = now
            self._utterance_complete = self._utterance_complete or self._utterance_over
        self._inbox.append((model_pcm, playback_pcm))
        self._utterance_over = False

    def end_utterance(self) -> None:
        """No more sound for now: what has arrived need not wait for company."""
        self._utterance_over = True

    def take(self, count: int, now: float) -> Take:
        """Hand out the next `count` frames and move the playhead past them."""
        return take_all([self], count, now)[0]

    def skip(self, count: int, now: float) -> FloatArray:
        """Frames that will not be drawn because the clock ran ahead: their sound is heard all the same."""
        return skip_all([self], count, now)[0]

    def interrupt(self) -> int:
        """Stop talking: all sound not heard yet is dropped, the mouth shuts. Returns the first frame of the silence."""
        self.generation += 1
        cut = FRAME_SAMPLES * self.next_frame
        self._inbox.clear()
        fading = round(CUT_FADE_S * SOUND_RATE)
        rest = self._playback_timeline.read(OUTPUT_RATIO * cut, OUTPUT_RATIO * cut + fading)
        rest *= np.linspace(1, 0, fading, dtype=np.float32)[:, None]
        self._old_timeline = AudioTimeline(start=cut - self.avatar.audio_range.past)
        self._old_timeline.append(self._model_timeline.read(cut - self.avatar.audio_range.past, cut))
        self._cut_frame = self.next_frame
        self._model_timeline = AudioTimeline(start=cut)
        self._playback_timeline = AudioTimeline(self._channels, start=OUTPUT_RATIO * cut)
        self._playback_timeline.append(rest)
        self._model_timeline.pad_to(cut + fading // OUTPUT_RATIO)
        self._committed = cut
        self._utterance_complete, self._slip = True, 0
        self._last_speech = self.next_frame - HANGOVER - 1
        return self.next_frame

    def state(self, now: float) -> SessionState:
        """All of it as one plain value; the session is left as it is."""
        return SessionState(
            id=self.id,
            avatar=self.avatar.id,
            width=self.output.width,
            height=self.output.height,
            pixel_format=self.output.pixel_format.value,
            background=background_name(self.output.background),
            seed=self._seed,
            channels=self._channels,
            generation=self.generation,
            next_frame=self.next_frame,
            motion_frame=self._motion.frame,
            motion_weight=self._motion.weight,
            motion_velocity=self._motion.velocity,
            emotion=self.emotion_targets.state(),
            model_timeline=self._model_timeline.state(),
            playback_timeline=self._playback_timeline.state(),
            committed=self._committed,
            inbox_model=tuple(model_pcm for model_pcm, _ in self._inbox),
            inbox_playback=tuple(playback_pcm for _, playback_pcm in self._inbox),
            inbox_age_s=now - self._inbox_since,
            utterance_over=self._utterance_over,
            utterance_complete=self._utterance_complete,
            slip=self._slip,
            margin=self._margin,
            steady_since=self._steady_since,
            old_timeline=self._old_timeline.state() if self._old_timeline is not None else None,
            cut_frame=self._cut_frame,
            last_speech=self._last_speech,
            refine=self.output.refine,
        )

    @classmethod
    def restored(
        cls,
        state: SessionState,
        avatar: AvatarFacts,
        output: OutputFormat,
        now: float,
        *,
        player: MotionPlayer | None = None,
        limits: Limits | None = None,
    ) -> Session:
        """The session that `state` was taken of: its next frames are what they would have been, bit for bit.

        output : as the state names it; whoever restores it has the picture behind it. player : of the state's seed.
        """
        session = cls(state.id, avatar, output, channels=state.channels, seed=state.seed, player=player, limits=limits)
        session.generation, session.next_frame = state.generation, state.next_frame
        session._motion = MotionState(state.motion_frame, state.motion_weight, state.motion_velocity)
        session.emotion_targets.restore(state.emotion)
        session._model_timeline = AudioTimeline.restored(state.model_timeline)
        session._playback_timeline = AudioTimeline.restored(state.playback_timeline)
        session._committed = state.committed
        session._inbox = list(zip(state.inbox_model, state.inbox_playback, strict=True))
        session._inbox_since = now - state.inbox_age_s
        session._utterance_over, session._utterance_complete = state.utterance_over, state.utterance_complete
        session._slip, session._margin, session._steady_since = state.slip, state.margin, state.steady_since
        session._old_timeline = AudioTimeline.restored(state.old_timeline) if state.old_timeline is not None else None
        session._cut_frame, session._last_speech = state.cut_frame, state.last_speech
        return session

    @property
    def _inbox_samples(self) -> int:
        return sum(len(model_pcm) for model_pcm, _ in self._inbox)

    def _admit_inbox(self, now: float) -> None:
        """Lay arrived sound down, unless an utterance is just beginning and the next chunk could still be late."""
        if not self._inbox:
            return
        flowing = self._model_timeline.end >= self._committed > 0
        enough = self._inbox_samples >= self._limits.onset_s * FRAME_SAMPLES * FPS
        if flowing or enough or self._utterance_over or now - self._inbox_since >= self._limits.onset_s:
            self._note_lateness(self._committed - self._model_timeline.end)
            self._utterance_complete = self._utterance_over
            self._model_timeline.pad_to(self._committed)
            self._playback_timeline.pad_to(OUTPUT_RATIO * self._committed)
            for model_pcm, playback_pcm in self._inbox:
                if self._slip < QUIET_STEP:  # as nearly always: nothing to leave out
                    self._model_timeline.append(model_pcm)
                    self._playback_timeline.append(playback_pcm)
                    continue
                kept = self._repay(model_pcm)
                self._model_timeline.append(model_pcm[kept])
                self._playback_timeline.append(playback_pcm[np.repeat(kept, OUTPUT_RATIO)])
            self._inbox.clear()

    def _note_lateness(self, gap: int) -> None:
        """Learn from sound that is about to be laid down `gap` samples after it was needed.

        Sound waits from its arrival to the clock's next frame, and that wait stays for as long as it flows. What of it
        exceeds the margin is to be caught up; a gap shows that the margin was too small.
        """
        if self._utterance_complete:  # an utterance begins
            excess = self._inbox_samples - FRAME_SAMPLES - self._margin
            if 0 < excess <= LONGEST_MARGIN:  # more is speech that was made beforehand: its pauses are meant
                self._slip = excess
        elif 0 < gap <= LONGEST_GAP_S * FRAME_SAMPLES * FPS:
            wider = min(self._margin + gap // 2, LONGEST_MARGIN)
            self._slip += gap - (wider - self._margin)
            self._margin, self._steady_since = wider, self.next_frame
        elif self._margin > MARGIN and self.next_frame - self._steady_since >= STEADY_FRAMES:
            self._margin -= QUIET_STEP
            self._slip += QUIET_STEP
            self._steady_since = self.next_frame

    def _repay(self, model_pcm: FloatArray) -> npt.NDArray[np.bool_]:
        """Which samples of arriving sound to keep, (S,): silence is left out until late sound has caught up.

        Without this a microphone that is always open would lag by every hiccup of its network, for ever.
        """
        kept = np.ones(len(model_pcm), np.bool_)
        for start in range(0, len(model_pcm) - QUIET_STEP + 1, QUIET_STEP):
            if self._slip < QUIET_STEP:
                break
            piece = model_pcm[start : start + QUIET_STEP]
            if np.dot(piece, piece) < QUIET_STEP * SPEECH_RMS**2:
                kept[start : start + QUIET_STEP] = False
                self._slip -= QUIET_STEP
        return kept

    def _heard(self, count: int) -> FloatArray:
        """The sound of the next frames, (640 n,)."""
        first = FRAME_SAMPLES * self.next_frame
        return self._model_timeline.read(first, first + FRAME_SAMPLES * count)

    def _talking(self, loud: Sequence[bool]) -> list[bool]:
        """Whether each of the next frames belongs to speech, given which are loud."""
        flags = []
        for index, is_loud in enumerate(loud, self.next_frame):
            if is_loud:
                self._last_speech = index
            flags.append(index - self._last_speech <= HANGOVER)
        return flags

    def _take(self, count: int, moves: Moves) -> Take:
        """Frames whose motion is known: their sound is read, and the playhead moves past them."""
        first, audio_range = self.next_frame, self.avatar.audio_range
        start, stop = FRAME_SAMPLES * first - audio_range.past, FRAME_SAMPLES * (first + count - 1) + audio_range.future
        self._committed = stop
        request = FrameRequest(
            session=self.id,
            avatar=self.avatar.id,
            generation=self.generation,
            first=first,
            pcm=self._model_timeline.read(start, stop),
            head_poses=moves.head_pose,
            torso_poses=moves.torso_pose,
            eyes=moves.eye,
            output=self.output,
            emotion=self.emotion_targets.shown(moves.emotion),
            fade=self._fade(first, count, start, stop),
        )
        return Take(request, self._advance(count))

    def _skip(self, count: int, moves: Moves) -> FloatArray:
        self.emotion_targets.shown(moves.emotion)
        self._committed = max(self._committed, FRAME_SAMPLES * (self.next_frame + count))
        return self._advance(count)

    def _fade(self, first: int, count: int, start: int, stop: int) -> Fade | None:
        if self._old_timeline is None:
            return None
        weights = np.zeros(count, np.float32)
        for index in range(count):
            since = first + index - self._cut_frame
            weights[index] = FADE_WEIGHTS[since] if since < len(FADE_WEIGHTS) else 0.0
        if not weights.any():
            self._old_timeline = None
            return None
        return Fade(self._old_timeline.read(start, stop), weights)

    def _advance(self, count: int) -> FloatArray:
        """Move the playhead; returns the sound heard meanwhile."""
        first = self.next_frame
        self.next_frame += count
        sound = self._playback_timeline.read(OUTPUT_FRAME * first, OUTPUT_FRAME * self.next_frame)
        self._model_timeline.forget(FRAME_SAMPLES * self.next_frame - self.avatar.audio_range.past)
        self._playback_timeline.forget(OUTPUT_FRAME * self.next_frame)
        return sound


def take_all(sessions: Sequence[Session], count: int, now: float) -> list[Take]:
    """`Session.take` of many sessions, their motion in one vector call."""
    moves = _move_all(sessions, count, now)
    return [session._take(count, own) for session, own in zip(sessions, moves, strict=True)]


def skip_all(sessions: Sequence[Session], count: int, now: float) -> list[FloatArray]:
    """`Session.skip` of many sessions."""
    moves = _move_all(sessions, count, now)
    return [session._skip(count, own) for session, own in zip(sessions, moves, strict=True)]


def _move_all(sessions: Sequence[Session], count: int, now: float) -> list[Moves]:
    """Lay down the sound that has arrived, and move all sessions by what is now known of it."""
    if not sessions:
        return []
    for session in sessions:
        if session.before_frames is not None:
            session.before_frames()
        session._admit_inbox(now)
    sound = np.stack([session._heard(count) for session in sessions]).reshape(len(sessions), count, FRAME_SAMPLES)
    loud = (np.sqrt(np.mean(np.square(sound), axis=2)) > SPEECH_RMS).tolist()
    talking = np.array([session._talking(own) for session, own in zip(sessions, loud, strict=True)])
    players = [session._player for session in sessions]
    moves, states = play(players, talking, [session._motion for session in sessions])
    for session, state in zip(sessions, states, strict=True):
        session._motion = state
    return moves
