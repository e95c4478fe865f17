"""The ingress's own port, taken again at once.

A server that closed a connection leaves its port waiting for a minute (TIME_WAIT). Ray binds the port of an ingress
without SO_REUSEADDR, and never tries one again that refused it: a server started again, or an ingress in the place of
one that died, would not listen in that minute, nor ever after.
"""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any


class _Reusing(socket.socket):
    """Binds a port that nobody listens on, whatever its last connections wait for."""

    def bind(self, address: Any, /) -> None:
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        super().bind(address)


def take_port_again() -> None:
    """Let Ray Serve bind so in this process, before its server starts."""
    try:
        from ray.serve._private import http_util
    except ImportError:  # another Ray than the one this was written for
        return
    replaceable: Any = http_util
    replaceable.socket = SimpleNamespace(**{**vars(socket), "socket": _Reusing})
