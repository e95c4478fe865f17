"""What a face shows beside its speech: the recorded smile and brows, unless the client asked for others.

What was asked for is reached, and left again, over half a second: a face does not jump.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from being.errors import InputError

FloatArray = npt.NDArray[np.float32]

FRAMES = 12  # from one face to another


@dataclass(frozen=True, eq=False)
class EmotionState:
    """Where a face is on its way, (E,) each: what was asked for (NaN: as recorded), held now, and its share."""

    wanted: FloatArray
    held: FloatArray
    share: FloatArray


class EmotionTargets:
    """The emotions of one session.

    Parameters
    ----------
    states : int
        E, how many emotions the avatar knows.
    """

    def __init__(self, states: int) -> None:
        self._wanted = np.full(states, np.nan, np.float32)  # NaN where the recording is played
        self._held = np.zeros(states, np.float32)  # the value that has been reached on the way to the target
        self._share = np.zeros(states, np.float32)  # of the target against the recording, 0 to 1

    def ask(self, wanted: FloatArray) -> None:
        """Show these values (E,) in [0, 1] from now on; NaN for what was recorded."""
        if wanted.shape != self._wanted.shape:
            raise ValueError(f"{len(wanted)} emotions for an avatar of {len(self._wanted)}")
        # Where nothing was held yet there is nothing to come from: the share alone makes the way.
        self._held = np.where(self._share > 0, self._held, np.nan_to_num(wanted)).astype(np.float32)
        self._wanted = wanted.astype(np.float32)

    def state(self) -> EmotionState:
        """What `restore` takes."""
        return EmotionState(self._wanted.copy(), self._held.copy(), self._share.copy())

    def restore(self, state: EmotionState) -> None:
        """Go on from there; an avatar that has other emotions by now plays as recorded."""
        if state.wanted.shape == self._wanted.shape:
            self._wanted, self._held, self._share = state.wanted.copy(), state.held.copy(), state.share.copy()

    def shown(self, recorded: FloatArray) -> FloatArray | None:
        """The next frames' emotions (n, E), given the recorded ones (n, E); None for an avatar without any."""
        if not recorded.shape[1]:
            return None
        if not self._share.any() and np.isnan(self._wanted).all():
            return recorded
        frames = np.empty_like(recorded)
        asked = ~np.isnan(self._wanted)
        for index, row in enumerate(recorded):
            self._share += np.clip(asked - self._share, -1 / FRAMES, 1 / FRAMES)
            goal = np.where(asked, self._wanted, self._held)
            self._held += np.clip(goal - self._held, -1 / FRAMES, 1 / FRAMES)
            frames[index] = row + (self._held - row) * self._share
        return frames


def target_values(states: Sequence[str], wanted: Mapping[str, float]) -> FloatArray:
    """What was asked for by name, (E,) in the order of the avatar's states; NaN for those that were not named.

    Raises
    ------
    InputError
        The avatar knows no such emotion, or its strength is not in [0, 1].
    """
    for name, strength in wanted.items():
        if name not in states:
            raise InputError(f"emotion {name!r} is not known to this avatar", f"Known: {', '.join(states) or 'none'}")
        if not 0 <= strength <= 1:
            raise InputError(f"emotion {name!r} is {strength:g}", "Give a strength from 0 to 1")
    return np.array([wanted.get(name, np.nan) for name in states], np.float32)
