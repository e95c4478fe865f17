"""A whole sound through the graph into a media sink, whose bytes come out as they are made."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Executor

import numpy as np
import numpy.typing as npt

from being.graph.contract import Graph
from being.graph.offline import perform, whole
from being.inference.frames import FrameRecord
from being.live.requests import AvatarFacts, FrameRequest, OutputFormat
from being.media.media_sink import MediaSink

FloatArray = npt.NDArray[np.float32]
Emit = Callable[[bytes], None]

BATCH = 8  # frames of a call: few, so that the first picture comes soon and live sessions are not held up
READY_BYTES = 8 << 20  # made and not yet taken: then drawing waits
CHECK_S = 0.05  # how often it looks whether enough was taken


class SpeechJob:
    """Drawing and encoding run ahead of whoever takes the bytes, by a bounded amount.

    Parameters
    ----------
    graph : where frames are drawn.
    pool : threads for encoding.
    model_pcm : (S,) float32, 16 kHz.
    playback_pcm : (S', channels) float32, 48 kHz: the same sound.
    open_sink : makes the sink, given where its bytes go; called in `pool`.
    """

    def __init__(
        self,
        graph: Graph,
        pool: Executor,
        avatar: AvatarFacts,
        output: OutputFormat,
        model_pcm: FloatArray,
        playback_pcm: FloatArray,
        open_sink: Callable[[Emit], MediaSink],
    ) -> None:
        self._graph = _PacedGraph(graph, self._until_taken)
        self._pool = pool
        self._avatar = avatar
        self._output = output
        self._model_pcm = model_pcm
        self._playback_pcm = playback_pcm
        self._open_sink = open_sink
        self._ready: deque[bytes] = deque()
        self._held = 0  # bytes in `_ready`
        self._changed = asyncio.Event()

    async def open(self) -> None:
        """Open the sink and start drawing."""
        self._loop = asyncio.get_running_loop()
        self._sink = await self._loop.run_in_executor(self._pool, self._open_sink, self._emit)
        self._drawing = asyncio.create_task(self._draw())
        self._drawing.add_done_callback(lambda _: self._changed.set())

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes as they are made.

        Raises
        ------
        BeingError
            A frame could not be drawn; what came before it was given out.
        """
        while True:
            self._changed.clear()
            while self._ready:
                piece = self._ready.popleft()
                self._held -= len(piece)
                yield piece
            if self._drawing.done():
                self._drawing.result()
                return
            if not self._ready:
                await self._changed.wait()

    async def close(self) -> None:
        """Stop, whether finished or not."""
        self._drawing.cancel()
        await asyncio.gather(self._drawing, return_exceptions=True)

    async def _draw(self) -> None:
        await perform(
            self._graph,
            self._avatar,
            self._output,
            whole(self._model_pcm, self._playback_pcm),
            self._sink,
            channels=self._playback_pcm.shape[1],
            batch=BATCH,
        )
        # What the worker threads emitted was put on this loop before their answer, so all of it is there by now.
        await self._loop.run_in_executor(self._pool, self._sink.close)

    def _emit(self, piece: bytes) -> None:
        """From a worker thread."""
        self._loop.call_soon_threadsafe(self._put, piece)

    def _put(self, piece: bytes) -> None:
        self._ready.append(piece)
        self._held += len(piece)
        self._changed.set()

    async def _until_taken(self) -> None:
        while self._held > READY_BYTES:
            await asyncio.sleep(CHECK_S)


class _PacedGraph:
    """The graph, held back before each call."""

    def __init__(self, graph: Graph, wait: Callable[[], Awaitable[None]]) -> None:
        self._graph = graph
        self._wait = wait

    async def prepare(self, avatar: str) -> AvatarFacts:
        return await self._graph.prepare(avatar)

    async def submit(self, tick: Sequence[FrameRequest]) -> list[FrameRecord]:
        await self._wait()
        return await self._graph.submit(tick)
