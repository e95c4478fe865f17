"""What the frame loop delivers, encoded in a worker thread and sent as far as the client's window goes."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial

from being.constants import FPS
from being.live.scheduler import Delivery, Sound
from being.server.encoding_pool import EncodingPool
from being.server.liveness import Gone, Liveness
from being.server.schemas import LiveFormat
from being.server.transport import LiveStream, Transport

AT_ONCE = 8  # deliveries encoded in one go: sessions that share a thread wait for each other
PENDING = 20 * FPS  # deliveries that may wait for the encoder: a client slower than that is gone


class MediaPump:
    """Deliveries of one session on their way to its client, over streams that come and go.

    Attributes
    ----------
    stream : that runs; None before `open` and after `close`.
    reopen : a new stream is wanted before anything else is encoded.
    more : the last `encode` left some for the next.
    """

    def __init__(self, pool: EncodingPool) -> None:
        self.stream: LiveStream | None = None
        self.reopen = True
        self.more = False
        self._pool = pool
        self._pending: deque[Delivery] = deque()
        self._overrun = False
        self._cut = False
        self._busy = False

    def restart(self) -> None:
        """A connection begins: nothing of before is sent."""
        self.reopen = True
        self._busy = False
        self._overrun = False
        self._pending.clear()

    def push(self, delivery: Delivery) -> bool:
        """Queue a delivery; whether it is worth encoding now.

        Sound alone waits for the picture that comes a moment later, or for the next tick: half as many messages.
        """
        alone = isinstance(delivery, Sound) and not self._pending
        self._pending.append(delivery)
        self._overrun = len(self._pending) > PENDING
        return not alone

    def cut(self) -> None:
        """What waits to be sent is not wanted any more."""
        self._cut = True

    async def open(self, transport: Transport, format: LiveFormat, width: int, height: int) -> LiveStream:
        """Open a new stream. The caller announces it, then sets `stream`: nothing is sent before."""
        self.reopen = False
        self.stream = None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool.executor, transport.open, format, width, height)

    async def encode(self) -> list[Delivery]:
        """Encode what waits, or the first of it; returns it. `more` says whether it was not all."""
        if self.stream is None or not self._pending:
            return []
        batch = [self._pending.popleft() for _ in range(min(AT_ONCE, len(self._pending)))]
        self.more = bool(self._pending)
        self._busy = True  # until it was sent
        await self._pool.encode(partial(self.stream.deliver, batch))
        return batch

    async def send(self, transport: Transport, liveness: Liveness) -> None:
        """Send what is ready, as far as the window goes.

        Raises
        ------
        Gone
            So much waits for the encoder that the client takes nothing any more.
        """
        if self._overrun:
            raise Gone("the client takes nothing any more")
        if self.stream is None:
            return
        if self._cut:  # here, where no worker thread writes into it
            self._cut = False
            self.stream.cut()
        stream = self.stream
        while liveness.may_send and self.stream is stream and (piece := stream.take()) is not None:
            liveness.sent(len(piece))
            await transport.send(piece)
        self._busy = False

    async def finish(self, transport: Transport) -> None:
        """End the stream and send the rest of it, however little the client has acknowledged."""
        if self.stream is None:
            return
        await asyncio.get_running_loop().run_in_executor(self._pool.executor, self.stream.close)
        while (piece := self.stream.take()) is not None:
            await transport.send(piece)

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be encoded, or is being encoded or sent."""
        return not self._pending and not self._busy

    @property
    def dropped(self) -> int:
        """Pieces that the running stream has dropped."""
        return self.stream.dropped if self.stream is not None else 0
