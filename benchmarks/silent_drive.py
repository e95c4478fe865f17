"""A frame of an avatar that is silent and moves as its recording does: what drawing is measured on."""

from __future__ import annotations

from typing import Any

import numpy as np

from being.inference.frames import Drive
from being.inference.renderable import RenderableAvatar


def silent_drive(renderable: RenderableAvatar, avatar: str, frame: int, **how: Any) -> Drive:
    """Frame `frame` of the motion, from its start again after its end. how : what else `Drive` takes: size, format."""
    config, motion = renderable.network.config, renderable.avatar.motion
    silence = np.zeros((config.audio_frames, config.audio_window, config.audio_width), np.float32)
    at = frame % len(motion.eye)
    return Drive(avatar, silence, float(motion.eye[at]), motion.head_pose[at], motion.torso_pose[at], **how)
