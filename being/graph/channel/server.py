"""Where session workers of this machine find a renderer: a socket, and a ticket for each that is expected."""

from __future__ import annotations

import contextlib
import errno
import logging
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from being.graph.channel.arena import IDLE_S, Arena
from being.graph.channel.connection import Connection, Draw
from being.graph.rendered_batch import RendererLoad

ACCEPT_AGAIN_S = 0.1  # after a failure, for example of descriptors
FOLDER = "being-renderer-"
SOCKET = "socket"
BEGINNING_S = 60.0  # a folder without a socket may be so old: its renderer is just starting

log = logging.getLogger(__name__)


class ChannelServer:
    """Listens for session workers.

    Attributes
    ----------
    path : of the socket, in a folder that is this user's alone.
    connections : that are open.

    Parameters
    ----------
    draw : has a worker's requests drawn. new_arena : memory for one worker's frames.
    idle_s, load : see Connection.
    """

    def __init__(
        self,
        draw: Draw,
        new_arena: Callable[[], Arena] = Arena,
        idle_s: float = IDLE_S,
        load: Callable[[], RendererLoad] = RendererLoad,
    ) -> None:
        self.connections: list[Connection] = []
        self._draw = draw
        self._new_arena = new_arena
        self._idle_s = idle_s
        self._load = load
        self._closing = False
        self._turn = threading.Lock()
        remove_left_behind(Path(tempfile.gettempdir()))
        self._folder = Path(tempfile.mkdtemp(prefix=FOLDER))
        self.path = str(self._folder / SOCKET)
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            self._listener.bind(self.path)
        except OSError:
            self._listener.close()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._listener.listen()
        self._expected: dict[str, Callable[[], None]] = {}
        threading.Thread(target=self._accept, name="being-channels", daemon=True).start()

    def expect(self, ticket: str, ended: Callable[[], None]) -> None:
        """A worker will come with this ticket; call `ended`, on some thread, when it has gone."""
        self._expected[ticket] = ended

    def forget(self, ticket: str) -> None:
        """It does not come, or is not waited for any more."""
        self._expected.pop(ticket, None)

    def close(self) -> None:
        """Hang up on everybody."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in [*self.connections]:
            connection.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError as error:
                if self._closing:
                    return
                log.warning("a session worker could not connect (%s)", error.strerror or error)
                time.sleep(ACCEPT_AGAIN_S)
                continue
            try:
                arena = self._new_arena()
                connection = Connection(accepted, self._draw, arena, self._over, self._idle_s, self._load, self._turn)
            except (OSError, RuntimeError) as error:  # no descriptor, no thread
                log.warning("a session worker cannot have a channel (%s)", error)
                accepted.close()  # it goes on by value
                continue
            self.connections.append(connection)
            if self._closing:  # since it was accepted
                connection.close()

    def _over(self, connection: Connection, ticket: str | None) -> None:
        with contextlib.suppress(ValueError):
            self.connections.remove(connection)
        if ticket is not None and (ended := self._expected.pop(ticket, None)) is not None:
            ended()


def remove_left_behind(temporary: Path) -> None:
    """Remove the folders of this user's renderers that were killed."""
    for folder in temporary.glob(f"{FOLDER}*"):
        with contextlib.suppress(OSError):  # another user's, or another renderer removes it at the same time
            if not _lives(folder / SOCKET):
                shutil.rmtree(folder, ignore_errors=True)


def _lives(path: Path) -> bool:
    """Whether a process has the socket; it is not told. OSError where that cannot be known."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno == errno.EPROTOTYPE:  # a stream socket, as ours are
                return True
            if error.errno == errno.ECONNREFUSED:
                return False
            if error.errno == errno.ENOENT:
                return time.time() - path.parent.stat().st_mtime < BEGINNING_S
            raise
    return True
