"""Whether a client still answers. Pure: the time is passed in."""

from __future__ import annotations


class Gone(Exception):
    """The client does not answer any more."""


class Superseded(Exception):
    """The same client has come back over another connection."""


class Moved(Exception):
    """The session goes on in another worker: its client is to connect again at once."""


class Liveness:
    """What is known of one client's connection.

    Parameters
    ----------
    gone_s : float
        A client silent for so long, or that acknowledges nothing for so long, is gone.
    window_bytes : int
        Bytes that may be sent ahead of what the client acknowledged.
    """

    def __init__(self, gone_s: float, window_bytes: int) -> None:
        self._gone_s = gone_s
        self._window = window_bytes
        self._touched_at = 0.0
        self._acknowledged_at = 0.0
        self._sent = 0
        self._acknowledged = 0
        self._connection = 0

    def connect(self, now: float) -> int:
        """A connection begins; its number, for `superseded`."""
        self._touched_at = self._acknowledged_at = now
        self._connection += 1
        return self._connection

    def superseded(self, connection: int) -> bool:
        """Whether a later connection of the same client has begun."""
        return connection != self._connection

    def touch(self, now: float) -> None:
        """Anything came from the client."""
        self._touched_at = now

    def restart(self) -> None:
        """A new stream begins: bytes count from zero."""
        self._sent = self._acknowledged = 0

    def sent(self, count: int) -> None:
        """So many more bytes are on their way."""
        self._sent += count

    def acknowledged(self, count: int, now: float) -> None:
        """The client has `count` bytes of the stream; more than were sent is not believed."""
        self._touched_at = self._acknowledged_at = now
        self._acknowledged = max(self._acknowledged, min(count, self._sent))

    @property
    def may_send(self) -> bool:
        """Whether the window has room."""
        return self._sent - self._acknowledged < self._window

    def check(self, now: float) -> None:
        """Raises Gone where the client has been silent, or acknowledged nothing, for too long."""
        if now - self._touched_at > self._gone_s:
            raise Gone(f"nothing was heard of the client for {self._gone_s:g} s; it should send 'received'")
        if not self.may_send and now - self._acknowledged_at > self._gone_s:
            raise Gone(f"the client acknowledged nothing for {self._gone_s:g} s; it should send 'received'")
