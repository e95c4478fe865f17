"""Sound to audio contexts: stateless, so that any replica can answer any request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from being.deployments.settings import GraphSettings
from ray import serve

from being.avatar.schema import AvatarManifest
from being.errors import BeingError
from being.graph.sound_encoder import SoundEncoder
from being.live.requests import FrameRequest

Heard = list[npt.NDArray[np.float32] | str]  # for each span its contexts (n, 8, 16, D), or why there are none


class SpanListener:
    """Encodes spans of any avatars of the library."""

    def __init__(self, settings: GraphSettings) -> None:
        self._library = settings.open_library()
        self._encoder = SoundEncoder()
        self._silences: dict[str, npt.NDArray[np.float32]] = {}
        for entry in self._library.entries():
            try:
                self._encoder.extractor(entry.manifest.features)
            except BeingError:
                continue  # its sessions are told when they ask for it; the others must not wait

    def listen(self, spans: Sequence[FrameRequest]) -> Heard:
        return [self._one(span) for span in spans]

    def _one(self, span: FrameRequest) -> npt.NDArray[np.float32] | str:
        try:
            manifest = self._library.get(span.avatar).manifest
            if span.fade is None and not span.pcm.any():
                return self._silence(span, manifest)
            return self._encoder.encode(span, manifest.features, manifest.windows)
        except BeingError as error:
            return str(error)

    def _silence(self, span: FrameRequest, manifest: AvatarManifest) -> npt.NDArray[np.float32]:
        """Contexts of somebody who listens, which most sessions do most of the time: computed once."""
        key = f"{manifest.features.model_dump_json()} {manifest.look_ahead} {span.count}"
        if key not in self._silences:
            self._silences[key] = self._encoder.encode(span, manifest.features, manifest.windows)
        return self._silences[key]


@serve.deployment(
    name="AudioEncoder",
    max_ongoing_requests=32,
    health_check_period_s=2,
    graceful_shutdown_timeout_s=5,
    ray_actor_options={"num_cpus": 0.2},
)
class AudioEncoder:
    def __init__(self, settings: GraphSettings) -> None:
        import torch

        torch.set_num_threads(1)  # a frame's sound is too little work to share
        self._listener = SpanListener(settings)

    async def encode(self, spans: Sequence[FrameRequest]) -> Heard:
        return await asyncio.to_thread(self._listener.listen, spans)
