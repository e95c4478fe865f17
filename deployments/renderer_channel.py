"""The channel of a session worker to the renderer that Serve has chosen for it, while that is on the same node."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import cast

import ray
from being.deployments.messages import ChannelAddress
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator

from being.graph.channel.client import FrameChannel
from being.graph.channel.messages import ChannelLost

OPENING_S = 60.0  # a renderer that takes longer to answer is starting, or dead
AGAIN_S = 1.0  # after a channel was lost or could not be opened
ELSEWHERE_S = 60.0  # after the renderer was found on another node: Serve may put one here
FIRST_LOOK_S = 2.0  # until another renderer is looked for, half as much more or less; longer each time
LATER_LOOK_S = 30.0  # at most
LEAVING_S = 2.0  # for what the old renderer is drawing
LOST = (RayError, RayServeException, TimeoutError, StopAsyncIteration)  # by a call of Serve

log = logging.getLogger(__name__)


class RendererChannel:
    """Opened in the background, and anew when it is lost. Meanwhile there is none: calls go through Serve, by value.

    Now and then Serve is asked for another renderer: one that came later, or whose workers have gone, would stay idle
    otherwise, as channels last. Where it has two channels less the worker moves there.

    Parameters
    ----------
    renderer : handle, with the options of a shard and `stream`.
    """

    def __init__(self, renderer: DeploymentHandle) -> None:
        self._renderer = renderer
        self._channel: FrameChannel | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._said: str | None = None

    def get(self) -> FrameChannel | None:
        """The channel, if there is one now. Call it on the event loop that draws."""
        if self._channel is not None and self._channel.alive:
            return self._channel
        loop = asyncio.get_running_loop()
        if self._keeping is None and loop.time() >= self._not_before:
            self._keeping = loop.create_task(self._keep(), name="being-renderer-channel")
        return None

    async def _keep(self) -> None:
        """Open the channel, and hold Serve's call for as long as it is there."""
        again_s = AGAIN_S
        call = _HeldCall(self._renderer)
        try:
            address = await call.answered()
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
                pause_s = min(1.5 * pause_s, LATER_LOOK_S)
                if (other := await self._emptier(call)) is not None:
                    call, pause_s = await self._moved(call, other), FIRST_LOOK_S
        except (ChannelLost, *LOST) as error:
            self._say(f"frames travel by value: no channel to the renderer ({type(error).__name__}: {error})")
        finally:
            call.end()
            if self._channel is not None:
                self._channel.close()
            self._channel, self._keeping = None, None
            self._not_before = asyncio.get_running_loop().time() + again_s

    async def _emptier(self, mine: _HeldCall) -> _HeldCall | None:
        """A call to a renderer of this node that is better off with this worker than its own, if Serve names one."""
        if mine.held < 2:
            return None
        other, chosen = _HeldCall(self._renderer), False
        try:
            address = await other.answered()
            chosen = _is_here(address) and address.path != mine.path and other.held < mine.held
        except LOST:
            pass
        finally:
            if not chosen:
                other.end()
        return other if chosen else None

    async def _moved(self, call: _HeldCall, other: _HeldCall) -> _HeldCall:
        """Draw through the other from now on; what the old one is drawing still comes."""
        old = self._channel
        try:
            self._channel = FrameChannel(other.path, other.ticket)
        except BaseException as error:
            other.end()
            if isinstance(error, ChannelLost):  # it has gone since
                return call
            raise
        log.info("moved to a renderer with fewer workers (%d, %d before)", other.held, call.held)
        if old is not None:
            until = asyncio.get_running_loop().time() + LEAVING_S
            while old.drawing and asyncio.get_running_loop().time() < until:
                await asyncio.sleep(0.01)
            old.close()
        call.end()
        return other

    def _say(self, what: str) -> None:
        if what != self._said:
            self._said = what
            log.warning(what)


class _HeldCall:
    """A call of a renderer's `channel`: the address, and how many channels lead there by now."""

    def __init__(self, renderer: DeploymentHandle) -> None:
        self._renderer = renderer
        self._response: DeploymentResponseGenerator[ChannelAddress] | None = None
        self._following: asyncio.Task[None] | None = None
        self.path = self.ticket = ""
        self.held = 0

    async def answered(self) -> ChannelAddress:
        """The first answer. Raises one of LOST."""
        response = cast("DeploymentResponseGenerator[ChannelAddress]", self._renderer.channel.remote())
        self._response = response
        address = await asyncio.wait_for(response.__anext__(), OPENING_S)
        self.path, self.ticket, self.held = address.path, address.ticket, address.held
        self._following = asyncio.get_running_loop().create_task(self._follow(response), name="being-renderer-held")
        return address

    async def _follow(self, response: DeploymentResponseGenerator[ChannelAddress]) -> None:
        with contextlib.suppress(*LOST):  # the channel itself says when it is lost
            async for address in response:
                self.held = address.held

    def end(self) -> None:
        if self._following is not None:
            self._following.cancel()
        if self._response is not None:
            self._response.cancel()


def _is_here(address: ChannelAddress) -> bool:
    return bool(address.path) and address.node == ray.get_runtime_context().get_node_id()


async def _closed_within(channel: FrameChannel, seconds: float) -> bool:
    try:
        await asyncio.wait_for(channel.closed.wait(), seconds)
    except TimeoutError:
        return False
    return True
