"""The renderer's end of one channel: a thread that reads and one that writes.

Writing includes the copy into shared memory, which happens while another batch is drawn. The threads of all channels
take turns: beside the drawing thread at most one of them wants the interpreter.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import socket
import threading
from collections.abc import Callable
from typing import Any, Protocol

from being.graph.channel.arena import IDLE_S, Arena
from being.graph.channel.formats import FormatReceiver
from being.graph.channel.messages import (
    CHUNK,
    NOBODYS,
    AnswerMessage,
    DrawMessage,
    DropMessage,
    Hello,
    Unpacker,
    packed,
)
from being.graph.channel.new_sound import SoundReceiver
from being.graph.channel.pictures import lay_down
from being.graph.rendered_batch import Answer, RenderedBatch, RendererLoad
from being.inference.rendered import FrameInfo, RenderedFrames
from being.live.requests import AudioContexts, FrameRequest

LONGEST_REASON = 300  # characters of why a tick was not drawn

log = logging.getLogger(__name__)


class Order(Protocol):
    """A tick that waits to be drawn. over : it was answered or cancelled."""

    over: bool

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        ...


Draw = Callable[[list[FrameRequest], bool, Answer, AudioContexts | None], Order]
"""Have requests drawn (live or not) and answered, on some other thread; their sound may have been encoded before."""


class Connection:
    """One session worker. What it was leased is taken back when it hangs up, as it does when it dies.

    Parameters
    ----------
    accepted : socket of the worker. arena : that its frames are written into.
    ended : told the worker's ticket once it is over; None where it never said one.
    turn : held by a thread while it computes; one for all connections of a renderer.
    idle_s : without answers after which the worker is asked what it has released.
    load : how busy the renderer is: told at once, and with each answer.
    """

    def __init__(
        self,
        accepted: socket.socket,
        draw: Draw,
        arena: Arena,
        ended: Callable[[Connection, str | None], None],
        idle_s: float = IDLE_S,
        load: Callable[[], RendererLoad] = RendererLoad,
        turn: threading.Lock | None = None,
    ) -> None:
        self.arena = arena
        self._turn = turn or threading.Lock()
        self._socket = accepted
        self._draw = draw
        self._ended = ended
        self._idle_s = idle_s
        self._load = load
        self._ticket: str | None = None
        self._sound = SoundReceiver()
        self._formats = FormatReceiver()
        self._orders: dict[int, Order] = {}
        self._answers: queue.SimpleQueue[tuple[int, RenderedBatch | Exception] | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="being-channel-read", daemon=True).start()
        threading.Thread(target=self._write, name="being-channel-write", daemon=True).start()

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        unpacker = Unpacker()
        try:
            while data := self._socket.recv(CHUNK):
                with self._turn:
                    for message in unpacker.push(data):
                        self._take(message)
        except OSError:
            pass  # it died; what follows is the same
        except Exception:
            log.exception("a session worker said something that cannot be understood; its channel is closed")
        for order in [*self._orders.values()]:
            order.cancel()
        self._answers.put(None)

    def _take(self, message: Any) -> None:
        if isinstance(message, Hello):
            self._ticket = message.ticket
            self._answers.put((NOBODYS, self._nothing()))
            return
        for slab, index in message.released:
            self.arena.release(slab, index)
        if isinstance(message, DropMessage):
            if (order := self._orders.pop(message.number, None)) is not None:
                order.cancel()
            return
        self._order(message)

    def _order(self, message: DrawMessage) -> None:
        number = message.number
        batch = self._formats.restored(message.batch, message.formats)
        encoded = message.contexts is not None
        sounds = None if encoded else self._sound.restored(batch.sessions, batch.sounds(), message.kept)
        requests = batch.requests(sounds)
        self._orders = {number: order for number, order in self._orders.items() if not order.over}
        try:
            self._orders[number] = self._draw(
                requests, message.live, lambda answer: self._answers.put((number, answer)), message.contexts
            )
        except Exception as error:
            self._answers.put((number, error))

    def _write(self) -> None:
        try:
            while True:
                try:
                    answer = self._answers.get(timeout=self._idle_s)
                except queue.Empty:
                    self._ask_for_released()
                    continue
                if answer is None:
                    return
                self._send(*answer)
        except OSError:
            self.close()
        finally:
            self._socket.close()
            self.arena.close()
            self._ended(self, self._ticket)

    def _ask_for_released(self) -> None:
        """A worker that asks for nothing says nothing of what it has released, nor hears of slabs that go."""
        if self.arena.bytes:
            self._send(NOBODYS, self._nothing())

    def _nothing(self) -> RenderedBatch:
        return RenderedBatch(RenderedFrames(FrameInfo.of([])), 0.0, self._load())

    def _send(self, number: int, answer: RenderedBatch | Exception) -> None:
        if isinstance(answer, Exception):
            reason = f"{type(answer).__name__}: {' '.join(str(answer).split())}"[:LONGEST_REASON]
            message = AnswerMessage(number, reason, {}, [], [], [], [], 0.0, RendererLoad())
            self._socket.sendall(packed(message))
            return
        with self._turn:
            placed, values = lay_down(answer.frames.pictures, self.arena)
            slabs, files, dropped = self.arena.changes()
            errors = answer.frames.errors or {}
            data = packed(
                AnswerMessage(number, None, errors, placed, values, slabs, dropped, answer.seconds, answer.load)
            )
        try:
            sent = socket.send_fds(self._socket, [data], files) if files else 0
        finally:
            for file in files:
                os.close(file)
        self._socket.sendall(memoryview(data)[sent:])
