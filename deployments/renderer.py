"""Drives to frames, batched over avatars and callers; stateless but for the avatars it has loaded."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import ray
from being.deployments.audio_encoder import warm_encoder
from being.deployments.channel_calls import ChannelCalls
from being.deployments.drawing import DrawingThread
from being.deployments.encoding import EncodingThread
from being.deployments.messages import ChannelAddress, Refusal
from being.deployments.settings import GraphSettings
from ray import serve

from being.errors import BeingError
from being.graph.channel.connection import Draw
from being.graph.channel.server import ChannelServer
from being.graph.rendered_batch import RenderedBatch
from being.graph.sound_encoder import SoundEncoder
from being.graph.tick import avatar_facts, encode, prepare_tick
from being.inference.engine import Engine
from being.live.request_batch import FrameRequestBatch
from being.live.requests import AudioContexts, AvatarFacts, FrameRequest
from being.ray_compat import before_replica_stops
from being.refine.load import load_stage

DEREGISTERED_S = 0.5  # routers hear within so long of a replica that is going
SHARDS_HELD = 64  # shards whose requests may come to one replica

log = logging.getLogger(__name__)


@serve.deployment(
    name="Renderer",
    max_ongoing_requests=256,
    health_check_period_s=2,
    graceful_shutdown_timeout_s=5,
    max_surge_percent=20,  # one more while it is replaced: without any nobody draws
    ray_actor_options={"num_cpus": 0.6},  # twice, beside the others, on two cores
)
class Renderer:
    def __init__(self, settings: GraphSettings) -> None:
        self._library = settings.open_library()
        self._refiner = refiner = settings.refiner
        inside = refiner is not None and refiner.place == "renderer"
        self._engine = Engine(
            self._library,
            settings.device,
            settings.fast,
            capacity=settings.resident,
            stages=[load_stage(refiner, self._library)] if refiner is not None and inside else [],
        )
        self._sent = refiner.sent if refiner is not None and not inside else None  # to a refiner of its own
        encodes = settings.encoder != "own"  # what session workers leave to it
        self._encoder = warm_encoder(self._library) if encodes else SoundEncoder()
        self._sharded = settings.shards > 1
        self._draw = DrawingThread(self._engine.render_frames)
        self._encoding = EncodingThread(self._encode, self._draw)
        apart = not encodes or self._sent is not None
        self._channels = None if apart else _channel_server(self._encoding.order, self._draw)
        self._calls: ChannelCalls | None = None  # made in the loop that they come to
        before_replica_stops(self._farewell)
        self._warm_up()

    async def prepare(self, avatar: str) -> AvatarFacts | Refusal:
        """Load an avatar before it is needed."""
        try:
            facts = await asyncio.to_thread(avatar_facts, self._engine, self._encoder, avatar)
            if self._refiner is None or (self._sent is None and not facts.refine):
                return facts
            return replace(facts, refine=self._refiner.strength)
        except BeingError as error:
            return Refusal.of(error)

    async def render(self, contexts: AudioContexts, batch: FrameRequestBatch, live: bool = True) -> RenderedBatch:
        """All frames of the requests; one without contexts says why."""
        await self._claim_shard()
        return await self._render(contexts, batch.requests(), live)

    async def render_sound(self, batch: FrameRequestBatch, live: bool = True) -> RenderedBatch:
        """`render` for sound: the encoder lives in this process."""
        await self._claim_shard()
        requests = batch.requests()
        contexts = await asyncio.to_thread(self._encode, requests)
        return await self._render(contexts, requests, live)

    def _encode(self, requests: Sequence[FrameRequest]) -> AudioContexts:
        return encode(requests, self._library, self._encoder)

    async def _render(self, contexts: AudioContexts, requests: Sequence[FrameRequest], live: bool) -> RenderedBatch:
        prepared = prepare_tick(requests, contexts, self._sent)
        drawn = await self._draw(prepared.drives, live=live)
        return replace(drawn, frames=prepared.answer(drawn.frames))

    async def channel(
        self, live: bool = True, avatars: Sequence[str] = (), fewer_than: int | None = None
    ) -> AsyncIterator[ChannelAddress]:
        """Where session workers of this node reach this replica past Serve; sound is encoded here.

        The call lasts as long as the worker stays, and tells how many stay: see `being.deployments.renderer_channel`.

        live : whether the worker counts. avatars : what it is drawing; they are loaded first, unless, with it, there
        are not fewer than so many here.
        """
        await self._claim_shard()
        if self._channels is None or not ray.is_initialized():  # asking for the node would start a Ray
            yield ChannelAddress("", "", "")
            return
        if self._calls is None:
            self._calls = ChannelCalls(self._channels, ray.get_runtime_context().get_node_id())
        if fewer_than is None or self._calls.live + 1 < fewer_than:
            for avatar in avatars:
                with contextlib.suppress(BeingError):  # drawing says so
                    await asyncio.to_thread(self._engine.prepare, avatar)
        async with contextlib.aclosing(self._calls.hold(live)) as addresses:
            async for address in addresses:
                yield address

    @serve.multiplexed(max_num_models_per_replica=SHARDS_HELD)
    async def _shard(self, name: str) -> str:
        """Serve sends a shard's requests to the replica that loaded it; what is loaded is the avatars, as they come."""
        return name

    async def _claim_shard(self) -> None:
        if self._sharded and (name := serve.get_multiplexed_model_id()):
            await self._shard(name)

    async def _farewell(self) -> None:
        """Session workers go to another replica, once Serve has stopped sending them here."""
        await asyncio.sleep(DEREGISTERED_S)
        if self._channels is not None:
            self._channels.close()

    def check_health(self) -> None:
        if not self._draw.alive:
            raise RuntimeError("the drawing thread has died")
        if not self._encoding.alive:
            raise RuntimeError("the encoding thread has died")

    def _warm_up(self) -> None:
        """Compile on the first avatar that loads; a damaged one is the business of whoever asks for it."""
        for entry in self._library.entries():
            try:
                self._engine.warm_up(entry.id)
                return
            except BeingError as error:
                log.warning("avatar %s cannot be played: %s", entry.id, error)


def _channel_server(draw: Draw, thread: DrawingThread) -> ChannelServer | None:
    try:
        return ChannelServer(draw, load=thread.load)
    except OSError as error:
        log.warning("frames travel by value: no socket for session workers of this node (%s)", error.strerror or error)
        return None
