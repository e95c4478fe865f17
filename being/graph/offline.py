"""A whole sound through the graph, unclocked: big batches, drawing and encoding overlapped, written as it is made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from being.errors import BeingError
from being.graph.contract import Graph
from being.inference.frames import FrameRecord
from being.inference.motion import MotionPlayer
from being.live.requests import FRAME_SAMPLES, AvatarFacts, OutputFormat
from being.live.session import OUTPUT_RATIO, Limits, Session, Take
from being.media.media_sink import MediaSink

FloatArray = npt.NDArray[np.float32]

BATCH = 16  # frames of one tick: enough to fill the cores, few enough to stream
NO_WAITING = Limits(onset_s=0.0, buffered_s=float("inf"))

Progress = Callable[[int, int], None]  # frames done, frames in all


@dataclass(frozen=True)
class Totals:
    """What a render took: frames made, seconds from the first tick to the last write, and of them inside the sink."""

    frames: int
    elapsed_s: float
    sink_s: float


def frames_covering(samples: int) -> int:
    """Frames that cover so many samples of 16 kHz."""
    return -(-samples // FRAME_SAMPLES)


async def warm_up(graph: Graph, avatar: AvatarFacts, output: OutputFormat, player: MotionPlayer | None = None) -> None:
    """Draw a batch of silence: kernels are compiled (once a machine, then cached) and pages touched before time counts.

    player : the avatar's motion, if there is one already.

    Raises
    ------
    BeingError
        The avatar cannot be drawn at all.
    """
    session = Session("warm-up", avatar, output, player=player, limits=NO_WAITING)
    for record in await graph.submit([session.take(2, now=0.0).request]):
        if record.error is not None:
            raise BeingError(record.error)


async def perform(
    graph: Graph,
    avatar: AvatarFacts,
    output: OutputFormat,
    model_pcm: FloatArray,
    playback_pcm: FloatArray,
    sink: MediaSink,
    *,
    seed: int = 0,
    player: MotionPlayer | None = None,
    emotion: FloatArray | None = None,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> Totals:
    """Play a sound through an avatar into a sink; while one batch is encoded the graph draws the next.

    Parameters
    ----------
    model_pcm : (S,) float32, 16 kHz
        What the avatar says.
    playback_pcm : (S', channels) float32, 48 kHz
        The same sound as it will be heard; cut or padded to three times S.
    player : MotionPlayer, optional
        The motion, made of `seed` without.
    emotion : (E,), optional
        See `being.live.emotion.target_values`; as recorded without.
    sink : MediaSink
        Not closed here: the caller publishes or aborts.

    Raises
    ------
    BeingError
        A frame could not be drawn, or the sink could not be written.
    """
    session = Session(
        "render", avatar, output, channels=playback_pcm.shape[1], seed=seed, player=player, limits=NO_WAITING
    )
    if emotion is not None:
        session.emotion_targets.ask(emotion)
    session.push_audio(model_pcm, _fitted(playback_pcm, OUTPUT_RATIO * len(model_pcm)), now=0.0)
    frames = frames_covering(len(model_pcm))
    sink_s = 0.0

    def write(take: Take, records: list[FrameRecord]) -> None:
        nonlocal sink_s
        started = time.perf_counter()
        sink.sound(take.sound)
        for record in records:
            sink.picture(record.index, record)
        sink_s += time.perf_counter() - started
        if progress is not None:
            progress(take.request.first + take.request.count, frames)

    started = time.perf_counter()
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="being-sink") as writer:
        writing: asyncio.Future[None] | None = None
        for first in range(0, frames, batch):
            take = session.take(min(batch, frames - first), now=0.0)
            records = await graph.submit([take.request])
            if writing is not None:
                await writing
            writing = loop.run_in_executor(writer, write, take, records)
        if writing is not None:
            await writing
    return Totals(frames, time.perf_counter() - started, sink_s)


def _fitted(sound: FloatArray, length: int) -> FloatArray:
    """Exactly `length` samples: resampling two copies of a sound may end a sample apart."""
    return np.pad(sound[:length], ((0, max(0, length - len(sound))), (0, 0)))
