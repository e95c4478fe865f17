"""Drives to frame records, batched over avatars and callers; stateless but for the avatars it has loaded."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from being.deployments.audio_encoder import Heard, SpanListener
from being.deployments.drawing import DrawingThread, RenderedBatch
from being.deployments.refiner import load_refiner, plain, refined
from being.deployments.settings import GraphSettings
from ray import serve

from being.errors import BeingError, FormatError, InputError
from being.graph.local import span_drives, span_failed
from being.graph.sound_encoder import SoundEncoder
from being.inference.compositing import Transparent
from being.inference.engine import Engine
from being.inference.frames import Drive, FrameRecord
from being.live.requests import AvatarFacts, FrameRequest

SHARDS_HELD = 64  # shards whose requests may come to one replica

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refusal:
    """Why an avatar cannot be played; data, for exceptions lose their fields between processes."""

    damaged: bool
    problem: str
    remedy: str

    @classmethod
    def of(cls, error: BeingError) -> Refusal:
        return cls(isinstance(error, FormatError), error.problem, error.remedy)

    def error(self) -> BeingError:
        return (FormatError if self.damaged else InputError)(self.problem, self.remedy)


@serve.deployment(
    name="Renderer",
    max_ongoing_requests=64,
    health_check_period_s=2,
    graceful_shutdown_timeout_s=5,
    ray_actor_options={"num_cpus": 0.8},
)
class Renderer:
    def __init__(self, settings: GraphSettings) -> None:
        self._library = settings.open_library()
        self._engine = Engine(self._library, settings.device, settings.fast, capacity=settings.resident)
        self._encoder = SoundEncoder()
        self._listener = SpanListener(settings) if settings.encoder == "renderer" else None
        self._sharded = settings.shards > 1
        refiner = settings.refiner
        inside = refiner is not None and refiner.place == "renderer"
        self._refine = load_refiner(refiner) if refiner is not None and inside else None
        self._keep_alpha = refiner is not None
        self._draw = DrawingThread(self._engine.render)
        self._warm_up()

    async def prepare(self, avatar: str) -> AvatarFacts | Refusal:
        """Load an avatar before it is needed."""
        try:
            return await asyncio.to_thread(self._facts, avatar)
        except BeingError as error:
            return Refusal.of(error)

    async def render(self, heard: Heard, spans: Sequence[FrameRequest], live: bool = True) -> RenderedBatch:
        """One record a frame, span after span; a span without contexts has records that say why."""
        await self._claim_shard()
        drives = [
            span_drives(plain(span) if self._refine else span, contexts) if not isinstance(contexts, str) else []
            for span, contexts in zip(spans, heard, strict=True)
        ]
        drawn = await self._draw([drive for of_span in drives for drive in of_span], live=live)
        answers = iter(drawn.records)
        records: list[FrameRecord] = []
        for span, contexts, of_span in zip(spans, heard, drives, strict=True):
            if isinstance(contexts, str):
                records += span_failed(span, InputError(contexts))
            else:
                records += [self._light(next(answers), drive) for drive in of_span]
        if self._refine is not None:
            records = await asyncio.to_thread(refined, self._refine, records, spans)
        return RenderedBatch(records, drawn.seconds)

    async def render_sound(self, spans: Sequence[FrameRequest], live: bool = True) -> RenderedBatch:
        """`render` for sound: the encoder lives in this process."""
        assert self._listener is not None, "this renderer was configured without an encoder"
        heard = await asyncio.to_thread(self._listener.listen, spans)
        return await self.render(heard, spans, live)

    @serve.multiplexed(max_num_models_per_replica=SHARDS_HELD)
    async def _shard(self, name: str) -> str:
        """Serve sends a shard's requests to the replica that loaded it; what is loaded is the avatars, as they come."""
        return name

    async def _claim_shard(self) -> None:
        if self._sharded and (name := serve.get_multiplexed_model_id()):
            await self._shard(name)

    def check_health(self) -> None:
        if not self._draw.alive:
            raise RuntimeError("the drawing thread has died")

    def _facts(self, avatar: str) -> AvatarFacts:
        loaded = self._engine.prepare(avatar).avatar
        manifest = loaded.manifest
        reach = self._encoder.reach(manifest.features, manifest.windows)
        return AvatarFacts(manifest.id, manifest.width, manifest.height, reach, loaded.motion)

    def _light(self, record: FrameRecord, drive: Drive) -> FrameRecord:
        """Without what no later stage asks for: a record crosses processes 25 times a second."""
        if not self._keep_alpha and not isinstance(drive.background, Transparent):
            record.alpha = None
        return record

    def _warm_up(self) -> None:
        """Compile on the first avatar that loads; a damaged one is the business of whoever asks for it."""
        for entry in self._library.entries():
            try:
                self._engine.warm_up(entry.id)
                return
            except BeingError as error:
                log.warning("avatar %s cannot be played: %s", entry.id, error)
