"""The channel of a session worker to the renderer that Serve has chosen for it, while that is on the same node."""

from __future__ import annotations

import asyncio
import logging
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

log = logging.getLogger(__name__)


class RendererChannel:
    """Opened in the background, and anew when it is lost. Meanwhile there is none: calls go through Serve, by value.

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
        response = cast("DeploymentResponseGenerator[ChannelAddress]", self._renderer.channel.remote())
        try:
            address = await asyncio.wait_for(response.__anext__(), OPENING_S)
            if not address.path or address.node != ray.get_runtime_context().get_node_id():
                again_s = ELSEWHERE_S
                where = "on another node" if address.path else "without a channel"
                self._say(f"the renderer is {where}: its frames travel by value")
                return
            self._channel = FrameChannel(address.path, address.ticket)
            self._said = None
            log.info("frames come through shared memory")
            await self._channel.closed.wait()
        except (ChannelLost, RayError, RayServeException, TimeoutError, StopAsyncIteration) as error:
            self._say(f"frames travel by value: no channel to the renderer ({type(error).__name__}: {error})")
        finally:
            response.cancel()
            if self._channel is not None:
                self._channel.close()
            self._channel, self._keeping = None, None
            self._not_before = asyncio.get_running_loop().time() + again_s

    def _say(self, what: str) -> None:
        if what != self._said:
            self._said = what
            log.warning(what)
