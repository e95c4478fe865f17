"""Sound and sessions that several tests of being.live share."""

from __future__ import annotations

import numpy as np

from being.live.requests import AvatarFacts, OutputFormat
from being.live.session import Limits, Session


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise with syllables in it, 16 kHz."""
    time = np.arange(int(16000 * seconds)) / 16000
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (0.2 * noise * np.sin(2 * np.pi * 2 * time) ** 2).astype(np.float32)


def session_of(facts: AvatarFacts, pcm: np.ndarray) -> Session:
    """A session that has heard a sound whole."""
    session = Session("s", facts, OutputFormat(64, 48), limits=Limits(onset_s=0))
    session.push_audio(pcm, np.repeat(pcm, 3)[:, None], 0.0)
    return session
