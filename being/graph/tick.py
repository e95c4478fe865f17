"""From a tick's requests to frames: encode the sound, make drives, and put what was drawn beside what failed.

The same steps in this process and in a deployment; they differ only in who encodes and in the thread that draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from being.avatar.library import Library
from being.errors import BeingError
from being.graph.sound_encoder import EncoderRequest, SoundEncoder, contexts_of
from being.inference.compositing import Transparent
from being.inference.engine import Engine
from being.inference.frame_batch import FrameStage
from being.inference.frames import Drive, Extras, PixelFormat
from being.inference.rendered import FrameInfo, RenderedFrames
from being.live.requests import AudioContexts, AvatarFacts, FrameRequest


@dataclass(frozen=True, eq=False)
class PreparedTick:
    """A tick ready to be drawn.

    drives : of the frames that can be. rows : which of the tick's frames those are.
    info : of all the tick's frames. errors : of the others, by row.
    """

    drives: list[Drive]
    rows: list[int]
    info: FrameInfo
    errors: dict[int, str]

    def answer(self, drawn: RenderedFrames) -> RenderedFrames:
        """All the tick's frames, given those of `drives`."""
        return drawn.placed(self.rows, self.info, self.errors) if self.errors else drawn


def encode(
    requests: Sequence[FrameRequest], library: Library, encoder: SoundEncoder, *, as_steps: bool = False
) -> AudioContexts:
    """Audio contexts of each request; what cannot be encoded says why and fails alone. as_steps : see SoundEncoder."""
    contexts: AudioContexts = [""] * len(requests)
    wanted: dict[int, EncoderRequest] = {}
    for index, request in enumerate(requests):
        try:
            manifest = library.get(request.avatar).manifest
        except BeingError as error:
            contexts[index] = str(error)
        else:
            wanted[index] = request, manifest.features, manifest.windows
    for index, encoded in zip(wanted, encoder.encode([*wanted.values()], as_steps=as_steps), strict=True):
        contexts[index] = str(encoded) if isinstance(encoded, BeingError) else encoded
    return contexts


def prepare_tick(requests: Sequence[FrameRequest], contexts: AudioContexts, sent: Extras | None = None) -> PreparedTick:
    """Drives of all requests that have contexts.

    sent : where frames go on to another process to be refined, as RGB: what they bring along.
    """
    drives: list[Drive] = []
    rows: list[int] = []
    errors: dict[int, str] = {}
    first = 0
    for request, given in zip(requests, contexts, strict=True):
        own = range(first, first + request.count)
        first += request.count
        if isinstance(given, str):
            errors.update(dict.fromkeys(own, given))
        else:
            rows += own
            drives += request_drives(request, given if given.ndim == 4 else contexts_of(given, request.count), sent)
    return PreparedTick(drives, rows, _info(requests), errors)


def request_drives(request: FrameRequest, contexts: npt.NDArray[np.float32], sent: Extras | None = None) -> list[Drive]:
    """One drive for each frame of a request."""
    wanted = request.output
    extras = Extras.ALPHA if isinstance(wanted.background, Transparent) else Extras.NONE
    if sent is not None:
        extras = sent
    return [
        Drive(
            avatar=request.avatar,
            context=contexts[index],
            eye=float(request.eyes[index]),
            head_pose=request.head_poses[index],
            torso_pose=request.torso_poses[index],
            emotion=None if request.emotion is None else request.emotion[index],
            width=wanted.width,
            height=wanted.height,
            background=wanted.background,
            session=request.session,
            generation=request.generation,
            index=request.first + index,
            pixel_format=wanted.pixel_format if sent is None else PixelFormat.RGB,
            extras=extras,
            refine=wanted.refine,
        )
        for index in range(request.count)
    ]


def avatar_facts(engine: Engine, encoder: SoundEncoder, avatar: str) -> AvatarFacts:
    """What a session must know of an avatar, which is loaded on the way."""
    loaded = engine.prepare(avatar).avatar
    manifest = loaded.manifest
    audio_range = encoder.audio_range(manifest.features, manifest.windows)
    refine = 1.0 if any(can_be_refined(stage, avatar) for stage in engine.stages) else None
    return AvatarFacts(manifest.id, manifest.width, manifest.height, audio_range, loaded.motion, refine)


def can_be_refined(stage: FrameStage, avatar: str) -> bool:
    """Whether a stage that has prepared an avatar would change its frames at full strength."""
    pose = np.eye(3, 4, dtype=np.float32)
    return stage.concerns(Drive(avatar, np.zeros((0, 0, 0), np.float32), 0.0, pose, pose, refine=1.0))


def _info(requests: Sequence[FrameRequest]) -> FrameInfo:
    counts = [request.count for request in requests]
    return FrameInfo(
        tuple(request.avatar for request in requests for _ in range(request.count)),
        tuple(request.session for request in requests for _ in range(request.count)),
        np.repeat(np.array([request.generation for request in requests], np.int64), counts),
        np.concatenate([np.zeros(0, np.int64), *(request.first + np.arange(request.count) for request in requests)]),
        np.concatenate([np.zeros((0, 3, 4), np.float32), *(request.head_poses for request in requests)]),
        strengths=np.repeat(np.array([request.output.refine for request in requests], np.float32), counts),
    )
