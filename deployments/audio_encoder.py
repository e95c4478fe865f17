"""Sound to audio contexts: stateless, so that any replica can answer any request."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import numpy as np
from being.deployments.settings import GraphSettings
from ray import serve

from being.audio.features import FeatureExtractor
from being.avatar.library import Library
from being.errors import BeingError
from being.graph.sound_encoder import SoundEncoder
from being.graph.tick import encode
from being.live.request_batch import FrameRequestBatch
from being.live.requests import AudioContexts

WARMING_SAMPLES = 6400


def warm_encoder(library: Library, names: Collection[str] | None = None) -> SoundEncoder:
    """An encoder with the extractors of all avatars loaded, and their code compiled.

    names : of the features to load; None for all.
    """
    encoder, warm = SoundEncoder(), set[FeatureExtractor]()
    for entry in library.entries():
        try:
            features = entry.manifest.features
            if names is not None and features.name not in names:
                continue
            if (extractor := encoder.extractor(features)) not in warm:
                warm.add(extractor)
                extractor.stream().push(np.zeros(WARMING_SAMPLES, np.float32))
        except BeingError:
            continue  # its sessions are told when they ask for it; the others must not wait
    return encoder


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
        self._library = settings.open_library()
        self._encoder = warm_encoder(self._library)

    async def encode(self, requests: FrameRequestBatch) -> AudioContexts:
        return await asyncio.to_thread(encode, requests.requests(), self._library, self._encoder)
