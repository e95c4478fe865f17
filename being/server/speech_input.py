"""A client's PCM on its way into a session. Pure: the time is passed in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from being.constants import FPS
from being.errors import InputError
from being.live.session import Session
from being.server.pcm_input import FloatArray, PcmInput
from being.server.pcm_state import PcmState
from being.server.problems import Problem

LARGE_SOUND = 64 << 10  # bytes of PCM worth a worker thread


class SpeechInput:
    """Converts what arrives and lays it into the session; a problem is returned once until there is room again.

    Small pieces are held until they are a frame's sound, or until a frame is about to read them (`settle`): conversion
    costs as much for a piece of 20 ms as for one of 40. Where sound flows, frames find it converted.
    """

    def __init__(self, session: Session, sample_rate: int) -> None:
        self._session = session
        self._pcm_input = PcmInput(sample_rate)
        self._overflowing = False
        self._taking = 0
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._held_since = 0.0
        self.taken_bytes = 0
        """Of PCM that were dealt with, over all connections: a client sends what it sent beyond them once more."""

    @property
    def busy(self) -> bool:
        """Whether a worker thread is converting: until it has, there is no state to take."""
        return self._taking > 0

    def state(self) -> PcmState:
        """What `restore` takes, once nothing is held."""
        assert not self._held, "settle before"
        return self._pcm_input.state()

    def restore(self, state: PcmState, taken_bytes: int) -> None:
        """Go on with the utterance from there."""
        self._pcm_input = PcmInput.restored(state)
        self.taken_bytes = taken_bytes

    @property
    def sample_rate(self) -> int:
        """Hz of the PCM that the client sends."""
        return self._pcm_input.rate

    async def take(self, data: bytes, now: Callable[[], float]) -> Problem | None:
        """PCM has arrived. A large piece is converted in a worker thread, and taken even if nobody waits for it."""
        if len(data) <= LARGE_SOUND:
            if not self._held:
                self._held_since = now()
            self._held.append(data)
            self._held_bytes += len(data)
            self.taken_bytes += len(data)
            return self.settle() if self._held_bytes * FPS >= 2 * self._pcm_input.rate else None
        problem = self.settle()
        large = await asyncio.shield(asyncio.create_task(self._take_large(data, now)))
        return large or problem

    def settle(self) -> Problem | None:
        """Convert what is held, as of when the first of it arrived; not while a large piece before it is converted."""
        if not self._held or self.busy:
            return None
        data, self._held, self._held_bytes = b"".join(self._held), [], 0
        return self.push(*self._pcm_input.push(data), self._held_since)

    async def _take_large(self, data: bytes, now: Callable[[], float]) -> Problem | None:
        self._taking += 1
        try:
            problem = self.push(*await asyncio.to_thread(self._pcm_input.push, data), now())
            self.taken_bytes += len(data)
            return problem
        finally:
            self._taking -= 1

    def push(self, model_pcm: FloatArray, playback_pcm: FloatArray, now: float) -> Problem | None:
        """Lay converted sound into the session; a problem where it has no room, once until it has again."""
        if not len(model_pcm):
            return None
        try:
            self._session.push_audio(model_pcm, playback_pcm, now)
        except InputError as error:
            if self._overflowing:
                return None
            self._overflowing = True
            return Problem.of(error, 413)
        self._overflowing = False
        return None

    def end(self, now: float) -> Problem | None:
        """The utterance is complete."""
        held = self.settle()
        problem = self.push(*self._pcm_input.flush(), now)
        self._session.end_utterance()
        return held or problem

    def change_rate(self, sample_rate: int, now: float) -> Problem | None:
        """PCM comes at another rate from now on."""
        if sample_rate == self._pcm_input.rate:
            return None
        held = self.settle()
        problem = self.push(*self._pcm_input.flush(), now)
        self._pcm_input = PcmInput(sample_rate)
        return held or problem

    def drop(self) -> None:
        """Forget what is held back: the client was interrupted."""
        self._held, self._held_bytes = [], 0
        self._pcm_input.drop()
