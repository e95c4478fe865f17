"""Only new sound travels: what a session's last request brought is put before it again on the other side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from being.live.requests import FRAME_SAMPLES, FrameRequest


class SoundSender:
    """Leaves out of each request what the one before it had, and says how many samples that is.

    Of each session in the last message the sound is known on both sides, no other. Whether the past is what was sent is
    looked at, not assumed: an interruption, or a session that moved, changes it.
    """

    def __init__(self) -> None:
        self._sent: dict[str, FrameRequest] = {}

    def cut(self, requests: Sequence[FrameRequest]) -> tuple[list[FrameRequest], list[int]]:
        """Requests with their new sound only, and the number of samples that stand before it."""
        kept = [self._known(request) for request in requests]
        self._sent = {request.session: request for request in requests}
        shorter = [replace(one, pcm=one.pcm[known:]) for one, known in zip(requests, kept, strict=True)]
        return shorter, kept

    def _known(self, request: FrameRequest) -> int:
        last = self._sent.get(request.session)
        if last is None or request.first < last.first:
            return 0
        known = last.pcm[FRAME_SAMPLES * (request.first - last.first) :]
        same = len(known) <= len(request.pcm) and np.array_equal(known, request.pcm[: len(known)])
        return len(known) if same else 0


class SoundReceiver:
    """Makes the requests of a SoundSender whole again; all its messages, in order."""

    def __init__(self) -> None:
        self._received: dict[str, FrameRequest] = {}

    def restored(self, requests: Sequence[FrameRequest], kept: Sequence[int]) -> list[FrameRequest]:
        """The requests as they were before `SoundSender.cut`."""
        whole = [self._whole(request, known) for request, known in zip(requests, kept, strict=True)]
        self._received = {request.session: request for request in whole}
        return whole

    def _whole(self, request: FrameRequest, known: int) -> FrameRequest:
        if not known:
            return request
        before = self._received[request.session].pcm
        return replace(request, pcm=np.concatenate([before[len(before) - known :], request.pcm]))
