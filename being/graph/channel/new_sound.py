"""Only new sound travels: what a session's last request brought is put before it again on the other side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from being.live.requests import FRAME_SAMPLES, FrameRequest

FloatArray = npt.NDArray[np.float32]


class SoundSender:
    """Leaves out of each request what the one before it had, and says how many samples that is.

    Of each session in the last message the sound is known on both sides, no other. Whether the past is what was sent is
    looked at, not assumed: an interruption, or a session that moved, changes it.
    """

    def __init__(self) -> None:
        self._sent: dict[str, FrameRequest] = {}

    def cut(self, requests: Sequence[FrameRequest]) -> tuple[list[FloatArray], list[int]]:
        """The new sound of each request, and the number of samples that stand before it."""
        kept = [self._known(request) for request in requests]
        self._sent = {request.session: request for request in requests}
        return [request.pcm[known:] for request, known in zip(requests, kept, strict=True)], kept

    def _known(self, request: FrameRequest) -> int:
        last = self._sent.get(request.session)
        if last is None or request.first < last.first:
            return 0
        known = last.pcm[FRAME_SAMPLES * (request.first - last.first) :]
        same = len(known) <= len(request.pcm) and np.array_equal(known, request.pcm[: len(known)])
        return len(known) if same else 0


class SoundReceiver:
    """Makes the sounds of a SoundSender whole again; all its messages, in order."""

    def __init__(self) -> None:
        self._received: dict[str, FloatArray] = {}

    def restored(self, sessions: Sequence[str], sounds: Sequence[FloatArray], kept: Sequence[int]) -> list[FloatArray]:
        """The sounds as they were before `SoundSender.cut`, each of a session."""
        whole = [
            np.concatenate([self._received[session][-known:], new]) if known else new
            for session, new, known in zip(sessions, sounds, kept, strict=True)
        ]
        self._received = dict(zip(sessions, whole, strict=True))
        return whole
