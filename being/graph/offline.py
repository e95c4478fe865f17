"""A whole sound through the graph, unclocked: big batches, drawing and encoding overlapped, written as it is made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
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
READ_AHEAD = 16_000  # samples of 16 kHz read at least before a tick
NO_WAITING = Limits(onset_s=0.0, buffered_s=float("inf"))

Progress = Callable[[int, int], None]  # frames done, frames in all
PairedBlocks = Iterable[tuple[FloatArray, FloatArray]]  # (n,) at 16 kHz and the same (3 n, channels) at 48 kHz


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
    sound: PairedBlocks,
    sink: MediaSink,
    *,
    channels: int = 1,
    expected_frames: int = 0,
    seed: int = 0,
    player: MotionPlayer | None = None,
    emotion: FloatArray | None = None,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> Totals:
    """Play a sound through an avatar into a sink; while one batch is encoded the graph draws the next.

    Parameters
    ----------
    sound : PairedBlocks
        What the avatar says, and the same as it will be heard; read on a thread, a little ahead of what is drawn, and
        never held whole. `whole` makes one of two arrays.
    sink : MediaSink
        Not closed here: the caller publishes or aborts.
    channels : int
        Of the sound that is heard.
    expected_frames : int
        How many frames there will be, as far as known: for `progress`.
    player : MotionPlayer, optional
        The motion, made of `seed` without.
    emotion : (E,), optional
        See `being.live.emotion.target_values`; as recorded without.

    Raises
    ------
    BeingError
        A frame could not be drawn, the sound could not be read, or the sink could not be written.
    """
    session = Session("render", avatar, output, channels=channels, seed=seed, player=player, limits=NO_WAITING)
    if emotion is not None:
        session.emotion_targets.ask(emotion)
    sound_input = _SoundInput(session, sound)
    sink_s, drawn = 0.0, 0

    def write(take: Take, records: list[FrameRecord]) -> None:
        nonlocal sink_s
        started = time.perf_counter()
        sink.sound(take.sound)
        for record in records:
            sink.picture(record.index, record)
        sink_s += time.perf_counter() - started
        if progress is not None:
            done = take.request.first + take.request.count
            progress(done, sound_input.frames if sound_input.ended else max(expected_frames, done))

    started = time.perf_counter()
    loop = asyncio.get_running_loop()
    with (
        ThreadPoolExecutor(1, thread_name_prefix="being-sink") as writer,
        ThreadPoolExecutor(1, thread_name_prefix="being-sound") as reader,
    ):
        writing: asyncio.Future[None] | None = None
        await loop.run_in_executor(reader, sound_input.read_for, batch)
        while (count := min(batch, sound_input.frames - drawn)) > 0:
            sound_input.deliver()
            take = session.take(count, now=0.0)
            drawn += count
            reading = loop.run_in_executor(reader, sound_input.read_for, drawn + batch)
            records = await graph.submit([take.request])
            if writing is not None:
                await writing
            writing = loop.run_in_executor(writer, write, take, records)
            await reading
        if writing is not None:
            await writing
    return Totals(drawn, time.perf_counter() - started, sink_s)


def whole(model_pcm: FloatArray, playback_pcm: FloatArray) -> PairedBlocks:
    """A sound that is there whole: (S,) at 16 kHz, and (S', channels) at 48 kHz, cut or padded to three times S."""
    return [(model_pcm, _fitted(playback_pcm, OUTPUT_RATIO * len(model_pcm)))]


class _SoundInput:
    """Reads blocks, on another thread, as far ahead as the next frames look, and gives them to the session."""

    def __init__(self, session: Session, sound: PairedBlocks) -> None:
        self._session = session
        self._blocks = iter(sound)
        self._waiting: list[tuple[FloatArray, FloatArray]] = []
        self._samples = 0
        self.ended = False

    @property
    def frames(self) -> int:
        """Frames that what was read until now covers."""
        return frames_covering(self._samples)

    def read_for(self, frames: int) -> None:
        """Read until the first `frames` frames know all they look at, or to the end. Nothing is delivered yet."""
        needed = FRAME_SAMPLES * frames + max(self._session.avatar.audio_range.future, READ_AHEAD)
        while self._samples < needed and not self.ended:
            block = next(self._blocks, None)
            self.ended = block is None
            if block is not None and len(block[0]):
                self._waiting.append(block)
                self._samples += len(block[0])

    def deliver(self) -> None:
        """Give the session what was read."""
        for model_pcm, playback_pcm in self._waiting:
            self._session.push_audio(model_pcm, playback_pcm, now=0.0)
        self._waiting.clear()


def _fitted(sound: FloatArray, length: int) -> FloatArray:
    """Exactly `length` samples: resampling two copies of a sound may end a sample apart."""
    return np.pad(sound[:length], ((0, max(0, length - len(sound))), (0, 0)))
