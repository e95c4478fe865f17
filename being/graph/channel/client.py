"""The session worker's end of a channel, on its event loop: ticks out, frames on shared memory in."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from being.graph.channel.formats import FormatSender
from being.graph.channel.mapped import MappedArena
from being.graph.channel.messages import (
    CHUNK,
    NOBODYS,
    AnswerMessage,
    ChannelLost,
    DrawMessage,
    DropMessage,
    Hello,
    Unpacker,
    packed,
)
from being.graph.channel.new_sound import SoundSender
from being.graph.channel.pictures import fill, records_of
from being.graph.rendered_batch import RendererLoad
from being.inference.frames import FrameRecord
from being.live.request_batch import FrameRequestBatch
from being.live.requests import AudioContexts, FrameRequest

LOAD_S = 2.0  # after which a renderer's load is an old one
MOST_FILES = 253  # descriptors that may come with one message, by the kernel (SCM_MAX_FD)

log = logging.getLogger(__name__)

Drawn = tuple[list[FrameRecord], float, RendererLoad]


class FrameChannel:
    """Draws through the renderer that listens at a path. Use it on the event loop that made it.

    Parameters
    ----------
    path, ticket : as the renderer gave them.

    Raises
    ------
    ChannelLost
        Nobody listens there.
    """

    def __init__(self, path: str, ticket: str = "") -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(path)
        except OSError as error:
            self._socket.close()
            raise ChannelLost(f"no renderer listens at {path} ({error.strerror})") from error
        self._socket.setblocking(False)
        self._arena = MappedArena()
        self._sound = SoundSender()
        self._formats = FormatSender()
        self._numbers = 0
        self._waiting: dict[int, tuple[Sequence[FrameRequest], asyncio.Future[Drawn]]] = {}
        self._load: RendererLoad | None = None
        self._load_at = 0.0
        self._unpacker = Unpacker()
        self._files: deque[int] = deque()
        self._unsent = bytearray()
        self.alive = True
        self.closed = asyncio.Event()
        self._loop.add_reader(self._socket, self._readable)
        self._send(Hello(ticket))

    def load(self) -> RendererLoad | None:
        """How busy the renderer said to be last, not known any more where it has been silent; None before it said."""
        if self._load is not None and self._loop.time() - self._load_at > LOAD_S:
            return replace(self._load, busy=None)
        return self._load

    @property
    def drawing(self) -> bool:
        """Whether somebody waits for frames."""
        return bool(self._waiting)

    async def draw(
        self, requests: Sequence[FrameRequest], contexts: AudioContexts | None = None, *, live: bool = True
    ) -> Drawn:
        """Frames of the requests, the seconds of drawing they stand for, and the renderer's load.

        Pictures are read only, and stay as they are for as long as an array on them is held.

        contexts : of the requests where their sound was encoded here: it stays here then.

        Raises
        ------
        ChannelLost
            The renderer is gone.
        RuntimeError
            It could not draw the tick; the message says why.
        """
        if not self.alive:
            raise ChannelLost("the renderer has gone")
        self._numbers += 1
        number = self._numbers
        waiting: asyncio.Future[Drawn] = self._loop.create_future()
        self._waiting[number] = requests, waiting
        try:
            self._ask(number, requests, contexts, live)
            return await waiting
        except asyncio.CancelledError:
            if self.alive:
                self._send(DropMessage(number, self._arena.take_released()))
            raise
        finally:
            self._waiting.pop(number, None)

    def _ask(self, number: int, requests: Sequence[FrameRequest], contexts: AudioContexts | None, live: bool) -> None:
        try:
            if contexts is None:
                sounds, kept = self._sound.cut(requests)
                whole = FrameRequestBatch.of(requests, sounds)
            else:
                whole, kept = FrameRequestBatch.muted(requests), []
            batch, formats = self._formats.numbered(whole)
            self._send(DrawMessage(number, live, batch, kept, formats, self._arena.take_released(), contexts))
        except Exception:
            self.close()  # the two ends may not remember the same any more
            raise

    def close(self) -> None:
        """Hang up; what is being drawn is lost. Pictures that somebody holds stay."""
        if not self.alive:
            return
        self.alive = False
        self.closed.set()
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        while self._files:
            os.close(self._files.popleft())
        for _, waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ChannelLost("the renderer has gone"))

    def _readable(self) -> None:
        try:
            data, files, _, _ = socket.recv_fds(self._socket, CHUNK, MOST_FILES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, files = b"", []
        self._files.extend(files)
        if not data:
            self.close()
            return
        try:
            for message in self._unpacker.push(data):
                self._take(message)
        except Exception:  # no descriptor left, no memory to map: the two ends do not agree any more
            log.exception("the channel to the renderer is broken: frames come by value until another is open")
            self.close()

    def _take(self, message: AnswerMessage) -> None:
        for slab in message.slabs:
            self._arena.add(slab, self._files.popleft())
        for number in message.dropped:
            self._arena.drop(number)
        if message.failure is None:
            self._load, self._load_at = message.load, self._loop.time()
        if message.number == NOBODYS:
            self._send(DropMessage(NOBODYS, self._arena.take_released()))
            return
        asked = self._waiting.get(message.number)
        if asked is None or asked[1].done():
            for part in message.pictures:
                for place in part.places:
                    self._arena.place(place)  # nobody looks at it: released at once
            return
        requests, waiting = asked
        if message.failure is not None:
            waiting.set_exception(RuntimeError(message.failure))
            return
        records = records_of(requests, message.errors)
        fill(records, message.pictures, message.values, self._arena)
        waiting.set_result((records, message.seconds, message.load))

    def _send(self, message: tuple[Any, ...]) -> None:
        data = packed(message)
        if not self._unsent:
            try:
                data = data[self._socket.send(data) :]
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                self.close()
                return
        if data:
            self._unsent += data
            self._loop.add_writer(self._socket, self._writable)

    def _writable(self) -> None:
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        if not self._unsent:
            self._loop.remove_writer(self._socket)
