"""Where a client's PCM stands, as plain data: what crosses processes knows no resampler."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PcmState:
    """A `being.server.pcm_input.PcmInput` in the middle of an utterance, as plain data.

    Attributes
    ----------
    recent : the utterance's last samples at `rate`, from sample `recent_from` on: enough to start a resampler with.
    model_made, playback_made : samples that the resamplers have given out.
    model_held, playback_held : those of them that wait for their counterparts.
    odd : the byte of half a sample, -1 where there is none.
    """

    rate: int
    recent_from: int
    recent: FloatArray
    model_made: int
    playback_made: int
    model_held: FloatArray
    playback_held: FloatArray
    odd: int
