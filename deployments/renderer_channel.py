"""The channel of a session worker to the renderer that Serve has chosen for it, while that is on the same node."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import random
from collections.abc import Callable, Sequence
from typing import cast

import ray
from being.deployments.messages import ChannelAddress
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

from being.graph.channel.client import FrameChannel
from being.graph.channel.messages import ChannelLost

OPENING_S = 60.0  # a renderer that takes longer to answer is starting, or dead
AGAIN_S = 1.0  # after a channel was lost or could not be opened
ELSEWHERE_S = 60.0  # after the renderer was found on another node: Serve may put one here
FIRST_LOOK_S = 2.0  # pause before another renderer is looked for; by chance half as much more or less
LONGER = 1.5  # each time
LATER_LOOK_S = 30.0  # at most
ARRIVING_S = 1.0  # for the first word of the new renderer
LEAVING_S = 2.0  # for what the old one is drawing

log = logging.getLogger(__name__)


class RendererChannel:
    """Opened in the background, and anew when it is lost. Meanwhile there is none: calls go through Serve, by value.

    A channel for live frames looks for another renderer now and then: one that came later, or whose workers have gone,
    would stay idle otherwise. It moves where there are two such channels less.

    Parameters
    ----------
    renderer : handle, with the options of a shard and `stream`.
    live : whether it is for live frames. looks : whether it ever moves. avatars : what is drawn just now, to be loaded
        before it moves.
    """

    def __init__(
        self,
        renderer: DeploymentHandle,
        *,
        live: bool = True,
        looks: bool = True,
        avatars: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._renderer = renderer
        self._live, self._looks, self._avatars = live, live and looks, avatars
        self._channel: FrameChannel | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None  # a task that nobody holds may vanish
        self._not_before = 0.0
        self._said: str | None = None

    def get(self) -> FrameChannel | None:
        """The channel, if there is one now. Call it on the event loop that draws."""
        if self._channel is not None and self._channel.alive:
            return self._channel
        loop = asyncio.get_running_loop()
        if self._keeping is None and loop.time() >= self._not_before:
            # In no request's context: Serve ends the calls of a request whose client has gone.
            context = contextvars.Context()
            self._keeping = loop.create_task(self._keep(), name="being-renderer-channel", context=context)
        return None

    async def _keep(self) -> None:
        """Open the channel, and hold Serve's call for as long as it is there."""
        again_s = AGAIN_S
        call = _HeldCall(self._renderer)
        try:
            address = await call.answered(self._live)
            if not _is_here(address):
                again_s = ELSEWHERE_S
                where = "on another node" if address.path else "without a channel"
                self._say(f"the renderer is {where}: its frames travel by value")
                return
            self._channel = FrameChannel(address.path, address.ticket)
            self._said = None
            log.info("frames come through shared memory")
            pause_s = FIRST_LOOK_S
            while not await _closed_within(self._channel, pause_s * random.uniform(0.5, 1.5)):
                if call.over:  # the renderer does not count this worker any more
                    return
                pause_s = min(LONGER * pause_s, LATER_LOOK_S)
                if (other := await self._emptier(call)) is not None and await self._moved(other):
                    call.end()
                    now, before = other.address.workers, call.address.workers
                    log.info("moved to a renderer with fewer workers (%d, %d before)", now, before)
                    call, pause_s = other, FIRST_LOOK_S
        except Exception as error:  # Serve and gRPC raise all sorts
            self._say(f"frames travel by value: no channel to the renderer ({type(error).__name__}: {error})")
        finally:
            if self._channel is not None:
                self._channel.close()
            self._channel, self._keeping = None, None
            self._not_before = asyncio.get_running_loop().time() + again_s
            call.end()

    async def _emptier(self, mine: _HeldCall) -> _HeldCall | None:
        """A call to a renderer of this node where, with this worker, there are fewer than now at its own; None where
        Serve names no such one. Whatever goes wrong costs nothing."""
        if not self._looks or mine.address.workers < 2:
            return None
        other, chosen = _HeldCall(self._renderer), False
        try:
            there = await other.answered(True, tuple(self._avatars()), mine.address.workers)
            chosen = _is_here(there) and there.path != mine.address.path and there.workers < mine.address.workers
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise  # else Serve has cancelled the call
        except Exception as error:
            log.debug("no other renderer was found (%s: %s)", type(error).__name__, error)
        finally:
            if not chosen:
                other.end()
        return other if chosen else None

    async def _moved(self, other: _HeldCall) -> bool:
        """Draw through the other from now on, once it has answered; what the old one is drawing still comes."""
        loop = asyncio.get_running_loop()
        channel: FrameChannel | None = None
        moved = False
        try:
            channel = FrameChannel(other.address.path, other.address.ticket)
            until = loop.time() + ARRIVING_S
            while channel.alive and channel.load() is None and loop.time() < until:
                await asyncio.sleep(0.01)
            moved = channel.alive and channel.load() is not None
        except ChannelLost:
            pass  # it has gone since
        finally:
            if not moved:
                other.end()
                if channel is not None:
                    channel.close()
        if moved:
            old, self._channel = self._channel, channel
            self._leaving = loop.create_task(_left(old)) if old is not None else None
        return moved

    def _say(self, what: str) -> None:
        if what != self._said:
            self._said = what
            log.warning(what)


class _HeldCall:
    """A call of a renderer's `channel`.

    Attributes
    ----------
    address : as it was answered last, so with the workers that there are by now.
    """

    def __init__(self, renderer: DeploymentHandle) -> None:
        self._renderer = renderer
        self._response: DeploymentResponseGenerator[ChannelAddress] | None = None
        self._following: asyncio.Task[None] | None = None
        self.address = ChannelAddress("", "", "", 0)

    async def answered(self, live: bool, avatars: Sequence[str] = (), fewer_than: int | None = None) -> ChannelAddress:
        """The first answer, see `Renderer.channel`."""
        remote = self._renderer.channel.remote(live, avatars, fewer_than)
        self._response = response = cast("DeploymentResponseGenerator[ChannelAddress]", remote)
        self.address = await asyncio.wait_for(response.__anext__(), OPENING_S)
        self._following = asyncio.get_running_loop().create_task(self._follow(response), name="being-renderer-workers")
        return self.address

    async def _follow(self, response: DeploymentResponseGenerator[ChannelAddress]) -> None:
        with contextlib.suppress(Exception):
            async for address in response:
                self.address = address

    @property
    def over(self) -> bool:
        """Whether the call has ended."""
        return self._following is not None and self._following.done()

    def end(self) -> None:
        """Never raises: a response that failed says so once more when it is cancelled."""
        if self._following is not None:
            self._following.cancel()
        if self._response is not None:
            with contextlib.suppress(Exception):
                self._response.cancel()


def _is_here(address: ChannelAddress) -> bool:
    return bool(address.path) and address.node == ray.get_runtime_context().get_node_id()


async def _closed_within(channel: FrameChannel, seconds: float) -> bool:
    try:
        await asyncio.wait_for(channel.closed.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def _left(channel: FrameChannel) -> None:
    """Close a channel once nobody waits for its frames."""
    loop = asyncio.get_running_loop()
    until = loop.time() + LEAVING_S
    try:
        while channel.drawing and loop.time() < until:
            await asyncio.sleep(0.01)
    finally:
        channel.close()
