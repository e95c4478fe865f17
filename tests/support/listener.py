"""A live client that gathers what it is sent."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import av
import numpy as np
from support.api_server import PATIENCE_S, Server
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect


class Listener:
    """Everything a connection sends, gathered."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.pieces: list[bytes] = []
        self.code: int | None = None

    def until(self, wanted: Callable[[], object], *, acknowledge: bool = True) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not wanted():
            assert time.monotonic() < deadline, f"waited in vain; events: {self.events[-5:]}"
            try:
                message = self.socket.recv(timeout=1.0)
            except TimeoutError:
                continue
            except ConnectionClosed as closed:
                self.code = closed.rcvd.code if closed.rcvd else 1006
                assert wanted(), f"closed with {self.code}: {self.events[-3:]}"
                return
            if isinstance(message, str):
                self.events.append(json.loads(message))
            else:
                self.pieces.append(message)
                if acknowledge:
                    with suppress(ConnectionClosed):  # the next `recv` tells why
                        self.say(type="received", bytes=sum(map(len, self.pieces)))

    def event(self, type: str) -> dict[str, Any]:
        self.until(lambda: self.of(type))
        return self.of(type)[-1]

    def of(self, type: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == type]

    def say(self, **message: object) -> None:
        self.socket.send(json.dumps(message))

    def vanish(self) -> None:
        """The network is gone; no goodbye. (Closing the descriptor would leave a reader that waits on it.)"""
        self.socket.socket.shutdown(socket.SHUT_RDWR)

    def film(self) -> tuple[list[int], np.ndarray]:
        """Frame numbers and the sound at 48 kHz."""
        stream = b"".join(self.pieces)
        with av.open(io.BytesIO(stream)) as film:
            frames = [round(float(frame.pts * frame.time_base) * 25) for frame in film.decode(video=0)]
        with av.open(io.BytesIO(stream)) as film:
            sound = np.concatenate([block.to_ndarray()[0] for block in film.decode(audio=0)])
        return frames, sound


@contextmanager
def live(server: Server, avatar: str = "tiny", **query: object) -> Iterator[Listener]:
    url = server.live(avatar, **query)
    # A goodbye that times out would leave its session waiting for a client that never comes back. All that arrives is
    # read at once (max_queue): `send` on a connection that closes waits for its reader, who would wait for us.
    with connect(
        url,
        max_size=None,
        max_queue=None,
        open_timeout=PATIENCE_S,
        close_timeout=PATIENCE_S,
        ping_interval=None,
    ) as connection:
        yield Listener(connection)
