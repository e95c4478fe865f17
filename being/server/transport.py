"""The way to one client: what a session needs of a WebSocket, or of whatever else carries its stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from being.server.schemas import LiveFormat


class LiveStream(Protocol):
    """Encodes what one client is sent; see `being.server.client_stream.ClientStream`."""

    media_type: str
    first: int | None

    def deliver(self, batch: Any) -> None: ...

    def close(self) -> None: ...

    def take(self) -> bytes | None: ...

    def cut(self) -> None: ...

    @property
    def dropped(self) -> int: ...


class Transport(Protocol):
    """Carries events and a stream to a client; what comes back is handed to `ClientSession.feedback`."""

    def open(self, format: LiveFormat, width: int, height: int) -> LiveStream:
        """A new stream in the form that this transport carries. Takes milliseconds: called in a worker thread."""
        ...

    async def send(self, piece: bytes) -> None:
        """Send a piece of the stream, in order."""
        ...

    async def send_event(self, event: Mapping[str, Any]) -> None:
        """Send a JSON event, in order with what is sent."""
        ...


@dataclass(frozen=True)
class Acknowledged:
    """The client has this many bytes of the stream since its `ready`."""

    bytes: int


Feedback = Acknowledged
