"""What draws for sessions: a tick of requests in, one record a frame out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from being.inference.frames import FrameRecord
from being.live.requests import AvatarFacts, FrameRequest


class Graph(Protocol):
    """Draws. Stateless but for loaded avatars: an answer depends on its request only, so a lost one can be repeated."""

    async def prepare(self, avatar: str) -> AvatarFacts:
        """Load an avatar before its first frame is due; InputError or FormatError where it cannot be."""
        ...

    async def submit(self, tick: Sequence[FrameRequest]) -> list[FrameRecord]:
        """One record a frame, request after request in their order. A frame that cannot be drawn carries its error."""
        ...
