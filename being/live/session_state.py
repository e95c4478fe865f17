"""A session's state as one plain value, so that it can move from one worker to another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from being.inference.compositing import Background, Colour, PictureFile, Plate, Transparent
from being.live.audio_timeline import TimelineState
from being.live.emotion import EmotionState

FloatArray = npt.NDArray[np.float32]

PICTURE = "picture:"  # before the name of a picture that was sent


@dataclass(frozen=True, eq=False)
class SessionState:
    """All that a session's next frames follow from, beside its avatar. Numbers, text and numpy arrays.

    Attributes
    ----------
    seed : of its motion. motion_frame, motion_weight, motion_velocity : where that stands.
    width, height, pixel_format, background, refine : of its output; a picture behind it is only named.
    model_timeline : 16 kHz. playback_timeline : 48 kHz, (S, channels). old_timeline : before an interruption.
    inbox_model, inbox_playback : sound that is not laid down yet, piece by piece. inbox_age_s : how long it has waited.
    The others are those of `being.live.session.Session`.
    """

    id: str
    avatar: str
    width: int
    height: int
    pixel_format: str
    background: str
    seed: int
    channels: int
    generation: int
    next_frame: int
    motion_frame: int
    motion_weight: float
    motion_velocity: float
    emotion: EmotionState
    model_timeline: TimelineState
    playback_timeline: TimelineState
    committed: int
    inbox_model: tuple[FloatArray, ...]
    inbox_playback: tuple[FloatArray, ...]
    inbox_age_s: float
    utterance_over: bool
    utterance_complete: bool
    slip: int
    margin: int
    steady_since: int
    old_timeline: TimelineState | None
    cut_frame: int
    last_speech: int
    refine: float = 0.0


def background_name(background: Background) -> str:
    """As a client names it; ValueError for a picture that only this process has."""
    if isinstance(background, Plate):
        return "plate"
    if isinstance(background, Transparent):
        return "none"
    if isinstance(background, Colour):
        return f"#{background.red:02x}{background.green:02x}{background.blue:02x}"
    if isinstance(background, PictureFile):
        return PICTURE + background.name
    raise ValueError("a picture of pixels has no name that another process knows")
