"""The audio encoder of a session worker: sound is encoded where it arrives, as far as that costs little.

Each worker encodes the sound of its own sessions, in a process of its own, where one renderer would have all of it
beside its batches; what travels are the feature steps that a frame reads, 4 KB. Features of large models stay with the
renderer, of which there are few, and which may have the GPU.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from being.deployments.audio_encoder import warm_encoder

from being.avatar.library import Library
from being.errors import BeingError
from being.graph.tick import encode
from being.live.requests import AudioContexts, FrameRequest

CHEAP = ("phones", "logmel")  # a millisecond of one core a frame or less


class WorkerEncoder:
    """Encodes ticks, one after another, on a thread of its own: a session goes on from its own last sound.

    Parameters
    ----------
    library : whose avatars say what they listen to.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._encoder = warm_encoder(library, CHEAP)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="being-sound")

    async def __call__(self, requests: Sequence[FrameRequest]) -> AudioContexts | None:
        """Contexts of a tick's requests; None where one of them is not encoded here."""
        if not all(self._cheap(avatar) for avatar in {request.avatar for request in requests}):
            return None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._encode, requests)

    def _encode(self, requests: Sequence[FrameRequest]) -> AudioContexts:
        return encode(requests, self._library, self._encoder, as_steps=True)

    def _cheap(self, avatar: str) -> bool:
        try:
            return self._library.get(avatar).manifest.features.name in CHEAP
        except BeingError:
            return True  # `encode` says what is wrong with it
