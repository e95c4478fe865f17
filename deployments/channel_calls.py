"""Serve's calls that stand for a renderer's channels: each lasts as long as its channel, and tells how many there
are.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator

from being.deployments.messages import ChannelAddress

from being.graph.channel.server import ChannelServer

TOLD_S = 0.25  # how long after a change it is told: who only looks has gone by then, and nobody hears of it


class ChannelCalls:
    """Use it on one event loop.

    Parameters
    ----------
    channels : where session workers come. node : id of this node.

    Attributes
    ----------
    live : how many channels for live frames there are.
    """

    def __init__(self, channels: ChannelServer, node: str) -> None:
        self._channels, self._node = channels, node
        self._changed: set[asyncio.Event] = set()  # of each call
        self.live = 0

    async def hold(self, live: bool = True) -> AsyncIterator[ChannelAddress]:
        """The address, and again whenever others have come or gone since; ends with the channel.

        live : whether it counts.
        """
        loop, ended, ticket = asyncio.get_running_loop(), asyncio.Event(), secrets.token_hex(8)
        changed = asyncio.Event()

        def end() -> None:
            ended.set()
            changed.set()

        def end_from_thread() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the replica is going down
                loop.call_soon_threadsafe(end)

        self._channels.expect(ticket, end_from_thread)
        self._changed.add(changed)
        self._count(int(live))
        announced = -1
        try:
            while not ended.is_set():
                if self.live != announced:
                    announced = self.live
                    yield ChannelAddress(self._node, self._channels.path, ticket, announced)
                await changed.wait()
                changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ended.wait(), TOLD_S)
        finally:
            self._channels.forget(ticket)
            self._changed.discard(changed)
            self._count(-int(live))

    def _count(self, more: int) -> None:
        self.live += more
        for changed in self._changed if more else ():
            changed.set()
