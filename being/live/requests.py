"""What travels through the graph: a session's next frames, with all the sound and motion that drawing them takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from being.audio.features import STEP, STEPS_PER_FRAME, FeatureExtractor
from being.audio.windows import CONTEXT_FRAMES, WINDOW_STEPS, WindowSpec
from being.constants import SAMPLE_RATE
from being.inference.compositing import Background, Plate
from being.inference.frames import PixelFormat

if TYPE_CHECKING:
    from being.avatar.motion import Motion

FloatArray = npt.NDArray[np.float32]
AudioContexts = list[FloatArray | str]
"""Of each request's frames (n, 8, 16, D), or the feature steps that they read, (30 + 2 (n - 1), D), or why there are
none."""

FRAME_SAMPLES = STEP * STEPS_PER_FRAME  # 640 samples of 16 kHz a video frame
CONTEXT_STEPS = WINDOW_STEPS + STEPS_PER_FRAME * (CONTEXT_FRAMES - 1)  # 30 steps a context touches


@dataclass(frozen=True)
class AudioContextRange:
    """The sound frame t is drawn from: samples [640 t - past, 640 t + future) at 16 kHz."""

    past: int
    future: int

    @property
    def look_ahead_s(self) -> float:
        """Seconds of sound after a frame's own 40 ms that must be known before it can be drawn."""
        return (self.future - FRAME_SAMPLES) / SAMPLE_RATE


def audio_context_range(extractor: FeatureExtractor, windows: WindowSpec) -> AudioContextRange:
    """The sound that the drawing of a frame reads: its windows' steps, and what the extractor reads around them.

    The past is whole steps, so that a request's features fall on the same steps wherever it starts.
    """
    first, last = context_steps(windows)
    left_steps = -(-extractor.left_context // STEP)
    return AudioContextRange(past=STEP * (left_steps - first), future=STEP * (last + 1) + extractor.right_context)


def context_steps(windows: WindowSpec) -> tuple[int, int]:
    """The first and last feature step that frame t's audio context reads, counted from step 2 t."""
    last = windows.last_step_offset
    return last - (CONTEXT_STEPS - 1), last


@dataclass(frozen=True)
class AvatarFacts:
    """What a session must know of its avatar; plain data, for the avatar itself may be in another process."""

    id: str
    width: int
    height: int
    audio_range: AudioContextRange
    motion: Motion
    refine: float | None = None
    """Strength of the refiner for those who ask for none; None where its frames cannot be refined."""


@dataclass(frozen=True)
class OutputFormat:
    """How a session wants its picture: size, background, and YUV420 where the next step is a video encoder.

    refine : strength of the refiner in [0, 1]; 0 leaves frames as they were rendered.
    """

    width: int
    height: int
    background: Background = Plate()  # noqa: RUF009 - immutable
    pixel_format: PixelFormat = PixelFormat.RGB
    refine: float = 0.0


@dataclass(frozen=True, eq=False)
class Fade:
    """The sound before an interruption, and how much of it each frame still takes.

    pcm: (S,) as the request's. weights: (n,) in [0, 1], 0 where only the new sound counts.
    """

    pcm: FloatArray
    weights: FloatArray


@dataclass(frozen=True, eq=False)
class FrameRequest:
    """Frames first .. first + n - 1 of one session.

    Attributes
    ----------
    session : the session's id, for logs and routing.
    avatar : id in the library.
    generation : of the session when the request was cut; an answer to an older one is dropped.
    pcm : (past + 640 (n - 1) + future,) float32 16 kHz, from 640 first - past on.
    head_poses, torso_poses : (n, 3, 4). eyes : (n,). emotion : (n, E) or None.
    output : size and background.
    fade : the sound of the generation before, where it was interrupted a moment ago.
    """

    session: str
    avatar: str
    generation: int
    first: int
    pcm: FloatArray
    head_poses: FloatArray
    torso_poses: FloatArray
    eyes: FloatArray
    output: OutputFormat
    emotion: FloatArray | None = None
    fade: Fade | None = None

    @property
    def count(self) -> int:
        """n, the number of frames."""
        return len(self.eyes)
