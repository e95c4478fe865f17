"""The graph over Serve handles: which replica gets what, and what happens to a pass that is lost."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from being.deployments.messages import Refusal
from being.deployments.renderer_channel import RendererChannel
from being.deployments.reported_loads import ReportedLoads
from being.deployments.settings import GraphSettings
from being.deployments.worker_encoder import WorkerEncoder
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from being.graph.channel.client import Drawn
from being.graph.channel.messages import ChannelLost
from being.graph.rendered_batch import RenderedBatch, RendererLoad
from being.inference.frames import FrameRecord
from being.live.request_batch import FrameRequestBatch
from being.live.requests import AudioContexts, AvatarFacts, FrameRequest
from being.ray_compat import BY_VALUE, receive_large_answers
from being.server.admission import Load, Observer, shard_of

PREPARE_S = 60.0  # an avatar that takes longer to load is not coming
LATELY_S = 10.0  # an avatar that was not drawn for so long has no session here

log = logging.getLogger(__name__)

receive_large_answers()  # before the first handle is used


class RayGraph:
    """`being.graph.contract.Graph` over handles: one pass a shard for each tick.

    A renderer on the same node, whose process does everything, is reached by a channel past Serve, and its frames come
    through shared memory. Handles are the way to other nodes and stages, and while a channel is opened.

    Parameters
    ----------
    renderer, encoder, refiner : handles; encoder None where it is no deployment, refiner None where absent.
    own_encoder : encodes in this process what it can; None for nothing.
    settings : of the graph.
    live : whole sounds wait for live frames.
    observer : told what each pass cost the renderer.
    """

    def __init__(
        self,
        settings: GraphSettings,
        renderer: DeploymentHandle,
        encoder: DeploymentHandle | None = None,
        refiner: DeploymentHandle | None = None,
        *,
        own_encoder: WorkerEncoder | None = None,
        live: bool = True,
        observer: Observer | None = None,
    ) -> None:
        carrying = _transport(settings)
        self._shards = settings.shards
        self._renderers = [renderer.options(**carrying, **self._route(shard)) for shard in range(settings.shards)]
        self._encoder = encoder.options(**carrying) if encoder is not None else None
        self._refiner = refiner.options(**carrying) if refiner is not None else None
        self._own_encoder = own_encoder
        self._live = live
        self._observer = observer
        # A channel leads from sound to planes: both must be made in the renderer's process.
        shared = settings.transport == "shared" and encoder is None and refiner is None
        # Serve sends a shard's calls to renderers that have it: to look for another would find the same.
        how: dict[str, Any] = {"live": live, "looks": settings.shards == 1, "avatars": self._drawn_lately}
        self._channels = [
            RendererChannel(renderer.options(**carrying, stream=True, **self._route(shard)), **how) if shared else None
            for shard in range(settings.shards)
        ]
        self._drawn_at: dict[str, float] = {}  # by avatar, on the loop's clock
        self._reported = ReportedLoads()

    def loads(self) -> dict[int, tuple[RendererLoad, ...]]:
        """By shard, the renderers that draw for this worker, and how busy they said to be.

        Opens channels that are not open. Call it on the event loop that draws.
        """
        found = {}
        for shard, channel in enumerate(self._channels):
            open_channel = channel.get() if channel is not None else None
            load = open_channel.load() if open_channel is not None else None
            found[shard] = self._reported.of(shard) if load is None else (load,)
        return found

    async def prepare(self, avatar: str) -> AvatarFacts:
        answer = await asyncio.wait_for(
            self._renderers[shard_of(avatar, self._shards)].prepare.remote(avatar), PREPARE_S
        )
        if isinstance(answer, Refusal):
            raise answer.error()
        facts: AvatarFacts = answer
        if self._refiner is not None and facts.refine is not None:
            known = await asyncio.wait_for(self._refiner.prepare.remote(avatar), PREPARE_S)
            if isinstance(known, Refusal):
                raise known.error()
            facts = replace(facts, refine=facts.refine if known else None)
        return facts

    async def submit(self, tick: Sequence[FrameRequest]) -> list[FrameRecord]:
        """As the protocol has it. A pass lost with its replica is tried once more: another one can draw it as well."""
        shards: dict[int, list[int]] = {}
        for place, request in enumerate(tick):
            shards.setdefault(shard_of(request.avatar, self._shards), []).append(place)
        if len(shards) == 1:
            return await self._pass(next(iter(shards)), tick)
        passes = [self._pass(shard, [tick[place] for place in places]) for shard, places in shards.items()]
        by_request: list[list[FrameRecord]] = [[] for _ in tick]
        for places, records in zip(shards.values(), await asyncio.gather(*passes), strict=True):
            answers = iter(records)
            for place in places:
                by_request[place] = [next(answers) for _ in range(tick[place].count)]
        return [record for records in by_request for record in records]

    async def _pass(self, shard: int, requests: Sequence[FrameRequest]) -> list[FrameRecord]:
        records, seconds, load = await self._drawn(shard, requests)
        self._reported.note(shard, load)
        if self._observer is not None:
            frames = Counter[Load]()
            for request in requests:
                frames[Load(request.avatar, request.output.width, request.output.height)] += request.count
            self._observer(frames, seconds)
        return records

    def _drawn_lately(self) -> list[str]:
        now = asyncio.get_running_loop().time()
        self._drawn_at = {avatar: at for avatar, at in self._drawn_at.items() if now - at < LATELY_S}
        return list(self._drawn_at)

    async def _drawn(self, shard: int, requests: Sequence[FrameRequest]) -> Drawn:
        self._drawn_at |= dict.fromkeys([request.avatar for request in requests], asyncio.get_running_loop().time())
        contexts = await self._own_encoder(requests) if self._own_encoder is not None else None
        channel = self._channels[shard]
        if channel is not None and (open_channel := channel.get()) is not None:
            try:
                return await open_channel.draw(requests, contexts, live=self._live)
            except ChannelLost:
                log.warning("a pass was lost with its renderer; once more")
        batch = FrameRequestBatch.of(requests)
        try:
            drawn = await self._send(shard, batch, contexts)
        except (RayError, RayServeException) as error:
            log.warning("a pass was lost (%s); once more", type(error).__name__)
            drawn = await self._send(shard, batch, contexts)
        return drawn.frames.records(), drawn.seconds, drawn.load

    async def _send(self, shard: int, batch: FrameRequestBatch, contexts: AudioContexts | None) -> RenderedBatch:
        renderer = self._renderers[shard]
        chain: list[Any] = []  # of DeploymentResponse
        try:
            if contexts is not None:
                chain.append(renderer.render.remote(contexts, batch.mute(), self._live))
            elif self._encoder is None:
                chain.append(renderer.render_sound.remote(batch, self._live))
            else:
                # A response handed on as a top-level argument: the renderer waits for it, this process does not.
                chain.append(self._encoder.encode.remote(batch))
                chain.append(renderer.render.remote(chain[0], batch.mute(), self._live))
            if self._refiner is not None:
                chain.append(self._refiner.refine.remote(chain[-1], batch.mute()))
            drawn: RenderedBatch = await chain[-1]
            return drawn
        except asyncio.CancelledError:
            for response in chain:
                response.cancel()
            raise

    def _route(self, shard: int) -> dict[str, Any]:
        return {"multiplexed_model_id": f"shard-{shard}"} if self._shards > 1 else {}


def _transport(settings: GraphSettings) -> dict[str, Any]:
    if settings.transport == "objects":
        return {}
    return {**BY_VALUE, "request_serialization": "pickle", "response_serialization": "pickle"}
