"""The refiner: a frame stage loaded by name, which may be absent; in the Renderer or as a deployment of its own."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import torch
from being.deployments.messages import Refusal
from being.deployments.settings import GraphSettings
from ray import serve

from being.errors import BeingError, InputError
from being.graph.rendered_batch import RenderedBatch
from being.graph.tick import can_be_refined
from being.inference.backends.kernels import planes_kernel
from being.inference.compositing import Transparent
from being.inference.frame_batch import FrameBatch, FrameStage
from being.inference.frames import PixelFormat
from being.inference.output import to_host, to_output
from being.inference.rendered import FrameInfo, Pictures, RenderedFrames
from being.live.request_batch import FrameRequestBatch
from being.model.device import device_of, on_device
from being.refine.load import load_stage


@torch.inference_mode()
def refined(
    stage: FrameStage, frames: RenderedFrames, requests: FrameRequestBatch, device: torch.device
) -> RenderedFrames:
    """Frames that came from another process as RGB through a stage, each in the pixel format its session wants."""
    format_of = np.repeat(requests.format_of, requests.counts)
    wanted = [requests.formats[number] for number in format_of]
    pictures: list[Pictures] = []
    planes = planes_kernel(device)
    for part in frames.pictures:
        clear = np.array([isinstance(wanted[row].background, Transparent) for row in part.rows])
        batch = replace(stage(_on_device(part, frames.info.take(part.rows), clear, device)), depth=None)
        for pixel_format in dict.fromkeys(wanted[row].pixel_format for row in part.rows):
            own = [place for place, row in enumerate(part.rows) if wanted[row].pixel_format is pixel_format]
            rows = [part.rows[place] for place in own]
            pictures.append(
                to_host(to_output(batch.take(own), pixel_format, planes), rows, alpha=bool(clear[own].any()))
            )
    return replace(frames, pictures=tuple(pictures))


def _on_device(part: Pictures, info: FrameInfo, clear: np.ndarray, device: torch.device) -> FrameBatch:
    pixels, alpha = (torch.tensor(array, device=device) for array in (part.pixels, part.alpha))
    return FrameBatch(
        info=info,
        pixels=pixels,
        alpha=alpha,
        pixel_format=PixelFormat.RGB,
        backdrops=pixels[:0],  # they are behind the pixels already
        backdrop_of=torch.zeros(len(info), dtype=torch.int32, device=device),
        clear=clear,
        depth=None if part.depth is None else torch.tensor(part.depth, device=device),
    )


@serve.deployment(
    name="Refiner",
    max_ongoing_requests=16,
    health_check_period_s=2,
    graceful_shutdown_timeout_s=5,
    ray_actor_options={"num_cpus": 0.2},
)
class Refiner:
    def __init__(self, settings: GraphSettings) -> None:
        assert settings.refiner is not None
        self._stage = load_stage(settings.refiner, settings.open_library())
        if self._stage.needs & ~settings.refiner.sent:
            raise InputError("refiner: this stage needs depth, which it is not sent", "Set place: renderer")
        self._device = device_of(settings.refiner.device)
        self._one_at_a_time = asyncio.Lock()
        self._prepared: OrderedDict[str, None] = OrderedDict()
        self._resident = settings.resident

    async def prepare(self, avatar: str) -> bool | Refusal:
        """Load what an avatar's frames need; whether they can be refined."""
        async with self._one_at_a_time:
            try:
                return await asyncio.to_thread(self._concerned, avatar)
            except BeingError as error:
                return Refusal.of(error)

    def resident(self) -> list[str]:
        """Ids of the avatars that are prepared, the one to leave first first."""
        return list(self._prepared)

    def _refined(self, frames: RenderedFrames, requests: FrameRequestBatch) -> RenderedFrames:
        with on_device(self._device):
            return refined(self._stage, frames, requests, self._device)

    def _concerned(self, avatar: str) -> bool:
        with on_device(self._device):
            self._stage.prepare(avatar)
        self._prepared[avatar] = None
        self._prepared.move_to_end(avatar)
        while len(self._prepared) > self._resident:
            self._stage.forget(self._prepared.popitem(last=False)[0])
        return can_be_refined(self._stage, avatar)

    async def refine(self, drawn: RenderedBatch, requests: FrameRequestBatch) -> RenderedBatch:
        async with self._one_at_a_time:
            for avatar, number in zip(requests.avatars, requests.format_of, strict=True):
                if not requests.formats[number].refine:
                    continue
                if avatar in self._prepared:
                    self._prepared.move_to_end(avatar)
                else:  # another replica was asked, or it was away for long
                    await asyncio.to_thread(self._concerned, avatar)
            frames = await asyncio.to_thread(self._refined, drawn.frames, requests)
            return replace(drawn, frames=frames)
