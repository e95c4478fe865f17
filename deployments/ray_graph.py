"""The graph over Serve handles: which replica gets what, and what happens to a pass that is lost."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from being.deployments.drawing import RenderedBatch
from being.deployments.renderer import Refusal
from being.deployments.settings import GraphSettings
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from being.inference.frames import FrameRecord
from being.live.request_batch import FrameRequestBatch
from being.live.requests import AvatarFacts, FrameRequest
from being.ray_compat import BY_VALUE, receive_large_answers
from being.server.admission import Load, Observer, shard_of

PREPARE_S = 60.0  # an avatar that takes longer to load is not coming

log = logging.getLogger(__name__)

receive_large_answers()  # before the first handle is used


class RayGraph:
    """`being.graph.contract.Graph` over handles: one pass a shard for each tick.

    Parameters
    ----------
    renderer, encoder, refiner : handles; encoder None where it lives in the renderer, refiner None where absent.
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
        live: bool = True,
        observer: Observer | None = None,
    ) -> None:
        carrying = _transport(settings)
        self._shards = settings.shards
        self._renderers = [renderer.options(**carrying, **self._route(shard)) for shard in range(settings.shards)]
        self._encoder = encoder.options(**carrying) if encoder is not None else None
        self._refiner = refiner.options(**carrying) if refiner is not None else None
        self._live = live
        self._observer = observer

    async def prepare(self, avatar: str) -> AvatarFacts:
        answer = await asyncio.wait_for(
            self._renderers[shard_of(avatar, self._shards)].prepare.remote(avatar), PREPARE_S
        )
        if isinstance(answer, Refusal):
            raise answer.error()
        facts: AvatarFacts = answer
        return facts

    async def submit(self, tick: Sequence[FrameRequest]) -> list[FrameRecord]:
        """As the protocol has it. A pass lost with its replica is tried once more: another one can draw it as well."""
        shards: dict[int, list[int]] = {}
        for place, request in enumerate(tick):
            shards.setdefault(shard_of(request.avatar, self._shards), []).append(place)
        passes = [self._pass(shard, [tick[place] for place in places]) for shard, places in shards.items()]
        by_request: list[list[FrameRecord]] = [[] for _ in tick]
        for places, records in zip(shards.values(), await asyncio.gather(*passes), strict=True):
            answers = iter(records)
            for place in places:
                by_request[place] = [next(answers) for _ in range(tick[place].count)]
        return [record for records in by_request for record in records]

    async def _pass(self, shard: int, requests: list[FrameRequest]) -> list[FrameRecord]:
        batch = FrameRequestBatch.of(requests)
        try:
            drawn = await self._send(shard, batch)
        except (RayError, RayServeException) as error:
            log.warning("a pass was lost (%s); once more", type(error).__name__)
            drawn = await self._send(shard, batch)
        if self._observer is not None:
            frames = Counter[Load]()
            for request in requests:
                frames[Load(request.avatar, request.output.width, request.output.height)] += request.count
            self._observer(frames, drawn.seconds)
        return drawn.frames.records()

    async def _send(self, shard: int, batch: FrameRequestBatch) -> RenderedBatch:
        renderer = self._renderers[shard]
        chain: list[Any] = []  # of DeploymentResponse
        try:
            if self._encoder is None:
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
