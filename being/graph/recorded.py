"""Feature windows computed beforehand, in the place of the encoder: a published audio file drives a face."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from being.audio.deepspeech import load_windows
from being.audio.features import STEP, FeatureSpec
from being.audio.windows import CONTEXT_FRAMES, PUBLISHED_BEFORE, WindowSpec
from being.avatar.schema import AvatarManifest
from being.errors import BeingError, InputError
from being.graph.sound_encoder import EncoderRequest, SoundEncoder
from being.live.requests import AudioContextRange, FrameRequest, context_steps

FloatArray = npt.NDArray[np.float32]


class RecordedEncoder(SoundEncoder):
    """Encodes the requests of one recording from its file; the sound itself is not listened to.

    Parameters
    ----------
    path : a file of windows (N, 16, D), one a video frame: `aud_ds.npy`, `aud_eo.npy`.
    manifest : of the avatar that will speak; it must listen to windows of that width, centred as published.
    frames : of the recording, which is cut or, with its last window, prolonged to them.

    Raises
    ------
    InputError
        Not such a file, or the avatar listens to something else.
    """

    def __init__(self, path: Path, manifest: AvatarManifest, frames: int) -> None:
        super().__init__()
        self._windows = load_windows(path)
        self._frames = frames
        width = self._windows.shape[2]
        if width != manifest.network.audio_width:
            raise InputError(
                f"{path} holds windows {width} wide, avatar {manifest.id!r} listens to {manifest.network.audio_width}",
                "Give the file made by the extractor it was trained with (29: aud_ds.npy, 44: aud_eo.npy)",
            )
        if manifest.look_ahead != "published":
            raise InputError(
                f"{path} holds windows centred on their frames, avatar {manifest.id!r} looks {manifest.look_ahead} "
                "frames ahead",
                "Leave --features out: this avatar listens to the sound itself",
            )

    def audio_range(self, features: FeatureSpec, windows: WindowSpec) -> AudioContextRange:
        first, last = context_steps(windows)
        return AudioContextRange(past=-STEP * first, future=STEP * (last + 1))

    def encode(self, requests: Sequence[EncoderRequest], *, as_steps: bool = False) -> list[FloatArray | BeingError]:
        """Windows t-4 .. t+3 of every frame t, zero outside the recording, as the published network was trained.

        Always contexts, for recorded windows need not be of common steps.
        """
        return [self._contexts(request) for request, _, _ in requests]

    def _contexts(self, request: FrameRequest) -> FloatArray:
        at = request.first + np.arange(request.count)[:, None] + np.arange(CONTEXT_FRAMES) - PUBLISHED_BEFORE
        inside = (at >= 0) & (at < self._frames)
        stored = self._windows[np.clip(at, 0, len(self._windows) - 1)]
        return np.where(inside[..., None, None], stored, np.float32(0))
