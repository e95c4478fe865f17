"""The slot of the refiner: records in, better records out. What refines is loaded by name and may be absent."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
from collections.abc import Callable, Sequence

from being.deployments.drawing import RenderedBatch
from being.deployments.settings import RefinerSettings
from ray import serve

from being.errors import InputError
from being.inference.frames import FrameRecord
from being.inference.yuv import rgb_to_yuv420
from being.live.requests import FrameRequest

Refine = Callable[[list[FrameRecord]], list[FrameRecord]]


def load_refiner(settings: RefinerSettings) -> Refine:
    """The function a configuration names; InputError where there is none."""
    module, _, name = settings.load.partition(":")
    try:
        load = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"refiner {settings.load!r} cannot be imported: {error}", "Name it as module:function"
        ) from None
    refine: Refine = load(device=settings.device)
    return refine


def plain(span: FrameRequest) -> FrameRequest:
    """The span drawn as RGB, which is what a refiner works on."""
    return dataclasses.replace(span, stage=dataclasses.replace(span.stage, yuv=False))


def refined(refine: Refine, records: list[FrameRecord], spans: Sequence[FrameRequest]) -> list[FrameRecord]:
    """Refine the records that have a picture (RGB), and give each session the planes it asked for."""
    good = [record for record in records if record.error is None and record.image is not None]
    better = iter(refine(good))
    results = [next(better) if record.error is None and record.image is not None else record for record in records]
    wants_planes = [span.stage.yuv for span in spans for _ in range(span.count)]
    for record, planes in zip(results, wants_planes, strict=True):
        if planes and record.image is not None:
            record.image = rgb_to_yuv420(record.image)
            record.alpha = None
    return results


@serve.deployment(
    name="Refiner",
    max_ongoing_requests=16,
    health_check_period_s=2,
    graceful_shutdown_timeout_s=5,
    ray_actor_options={"num_cpus": 0.2},
)
class Refiner:
    def __init__(self, settings: RefinerSettings) -> None:
        self._refine = load_refiner(settings)
        self._one_at_a_time = asyncio.Lock()

    async def refine(self, drawn: RenderedBatch, spans: Sequence[FrameRequest]) -> RenderedBatch:
        async with self._one_at_a_time:
            return RenderedBatch(await asyncio.to_thread(refined, self._refine, drawn.records, spans), drawn.seconds)
