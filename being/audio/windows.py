"""Feature steps -> what one video frame hears: 16-step windows, 8 of them, with a stated look-ahead.

Two layouts of the same shape (8, 16, D):

- live, ``look_ahead`` = L frames: the window of frame t holds the 16 steps up to and including 2 (t + L) + 1, and its
  context the windows of frames t-7 .. t. Steps outside the sound are those of silence. Nothing later is read.
- ``published`` (GaussianTalker): the window of frame t holds the steps 2 t - 8 .. 2 t + 7, zero outside the sound, and
  its context the windows of frames t-4 .. t+3, zero-filled outside the clip: 280 ms of future sound.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from being.audio.features import STEP, STEPS_PER_FRAME, Array, FeatureExtractor
from being.constants import FPS, SAMPLE_RATE

WINDOW_STEPS = 16  # feature steps in a window, 320 ms
CONTEXT_FRAMES = 8  # windows in a context
PUBLISHED_BEFORE = 4  # of the published context's windows, those of earlier frames: t-4 .. t+3


class WindowSpec(BaseModel):
    """How far a frame looks ahead, as written in avatar.json: frames of 40 ms, or "published"."""

    model_config = ConfigDict(frozen=True)

    look_ahead: Literal["published"] | int = Field(default=1)

    def model_post_init(self, context: object) -> None:
        if isinstance(self.look_ahead, int) and not 0 <= self.look_ahead <= 25:
            raise ValueError(f"look_ahead must be 0..25 frames or 'published', got {self.look_ahead}")

    @property
    def last_step_offset(self) -> int:
        """The last step that frame t reads is STEPS_PER_FRAME * t + this."""
        if self.look_ahead == "published":
            frames_after = CONTEXT_FRAMES - 1 - PUBLISHED_BEFORE
            return STEPS_PER_FRAME * frames_after + WINDOW_STEPS // 2 - 1
        return STEPS_PER_FRAME * self.look_ahead + STEPS_PER_FRAME - 1


def frame_count(samples: int) -> int:
    """Video frames of a sound of so many 16 kHz samples: the nearest whole number, at least one if there is sound."""
    frame = SAMPLE_RATE // FPS
    return max(1, (samples + frame // 2) // frame) if samples else 0


def look_ahead_s(spec: WindowSpec, extractor: FeatureExtractor) -> float:
    """Seconds of sound after the end of a frame's own 40 ms that must be known before it can be drawn."""
    future_steps = spec.last_step_offset + 1 - STEPS_PER_FRAME
    return (future_steps * STEP + extractor.right_context) / SAMPLE_RATE


def frame_windows(steps: Array, frames: int, spec: WindowSpec, silence: Array | None = None) -> Array:
    """The window of every frame.

    Parameters
    ----------
    steps : (n, D)
        Feature steps from the start of the sound.
    frames : int
        T, may reach beyond the sound.
    silence : (D,) or None
        What stands outside the sound when live; zero when None, and always zero when published.

    Returns
    -------
    (T, 16, D) float32
    """
    width = steps.shape[1]
    outside = np.zeros(width, np.float32) if silence is None or spec.look_ahead == "published" else silence
    first = _first_step(0, spec)
    before = -first
    after = max(0, _first_step(frames - 1, spec) + WINDOW_STEPS - len(steps)) if frames else 0
    padded = np.concatenate(
        [np.broadcast_to(outside, (before, width)), steps, np.broadcast_to(outside, (after, width))]
    ).astype(np.float32)
    at = STEPS_PER_FRAME * np.arange(frames)[:, None] + np.arange(WINDOW_STEPS)
    return padded[at]


def _first_step(frame: int, spec: WindowSpec) -> int:
    if spec.look_ahead == "published":
        return STEPS_PER_FRAME * frame - WINDOW_STEPS // 2
    return STEPS_PER_FRAME * frame + spec.last_step_offset - WINDOW_STEPS + 1


def audio_context(windows: Array, spec: WindowSpec, silence: Array | None = None) -> Array:
    """windows (T, 16, D) -> (T, 8, 16, D): frames t-7..t, or t-4..t+3 when published.

    Before the first frame stand windows of silence when live (``silence`` (D,), None = zeros), zeros when published.
    """
    frames, _, width = windows.shape
    if spec.look_ahead == "published":
        before, after = PUBLISHED_BEFORE, CONTEXT_FRAMES - 1 - PUBLISHED_BEFORE
        outside = np.zeros((WINDOW_STEPS, width), np.float32)
        padded = [np.broadcast_to(outside, (before, *outside.shape)), windows]
        padded.append(np.broadcast_to(outside, (after, *outside.shape)))
        full = np.concatenate(padded)
    else:
        # The windows of the frames before the first one are not all silence: with look-ahead they reach into the sound.
        full = np.concatenate([_windows_before(windows, spec, silence), windows])
    at = np.arange(frames)[:, None] + np.arange(CONTEXT_FRAMES)
    return full[at].astype(np.float32)


def _windows_before(windows: Array, spec: WindowSpec, silence: Array | None) -> Array:
    """(7, 16, D) the windows of frames -7 .. -1, from the first frame's: each is the next one moved by one frame."""
    width = windows.shape[2]
    outside = np.zeros(width, np.float32) if silence is None else np.asarray(silence, np.float32)
    count = CONTEXT_FRAMES - 1
    if not len(windows):
        return np.broadcast_to(outside, (count, WINDOW_STEPS, width))
    steps = np.concatenate([np.broadcast_to(outside, (count * STEPS_PER_FRAME, width)), windows[0]])
    at = STEPS_PER_FRAME * np.arange(count)[:, None] + np.arange(WINDOW_STEPS)
    return steps[at]


def silence_steps(extractor: FeatureExtractor) -> Array:
    """(D,) the answer of the extractor to endless digital silence."""
    return extractor(np.zeros(0, np.float32), 0, 1)[0]


def file_contexts(pcm: Array, extractor: FeatureExtractor, spec: WindowSpec, frames: int | None = None) -> Array:
    """pcm (S,) 16 kHz -> (T, 8, 16, D) the context of every frame of a whole sound."""
    frames = frame_count(len(pcm)) if frames is None else frames
    published = spec.look_ahead == "published"
    # Live, the sound is followed by endless silence, which the extractor answers itself.
    steps = extractor(pcm, 0, None if published else STEPS_PER_FRAME * frames + max(0, spec.last_step_offset))
    silence = silence_steps(extractor)
    return audio_context(frame_windows(steps, frames, spec, silence), spec, silence)
