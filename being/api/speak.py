"""`POST /v1/avatars/{id}/speak`: a sound in, the talking picture out, streamed while it is made."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, BinaryIO

import numpy as np
import numpy.typing as npt
from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from being.api.problems import documented
from being.api.schemas import SpeakFormat
from being.api.uploads import MULTIPART_FIELD, receive_upload
from being.errors import BeingError
from being.graph.local import Graph
from being.graph.offline import perform
from being.inference.compositing import Transparent
from being.inference.frames import FrameRecord, PixelFormat
from being.live.requests import AvatarFacts, FrameRequest, OutputFormat
from being.media.contract import StreamFormat
from being.media.fmp4 import Fmp4Writer
from being.media.jpeg_sink import JpegSink
from being.media.media_sink import MediaSink
from being.media.sound_file import Sound
from being.media.sound_reader import read_sound
from being.media.webm_stream import WebmStreamWriter
from being.media.writer_sink import WriterSink
from being.server.limits import check_size
from being.server.problems import Problem
from being.server.registry import Service
from being.server.schemas import Background, Side

BATCH = 8  # frames of a call: few, so that the first picture comes soon and live sessions are not held up
FRAMES_PER_FRAGMENT = 5
READY_BYTES = 8 << 20  # made and not yet taken by the client: then drawing waits
BOUNDARY = "being-frame"
NOTES_HEADER = "Being-Notes"
NOTES_BYTES = 4000  # of that header: proxies allow 8 KiB for all of them
MEDIA_TYPES = {
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mjpeg": f"multipart/x-mixed-replace; boundary={BOUNDARY}",
}

BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "audio/*": {"schema": {"type": "string", "format": "binary"}},
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [MULTIPART_FIELD],
                    "properties": {MULTIPART_FIELD: {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}
ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The talking avatar, streamed while it is made",
        "content": {kind.partition(";")[0]: {} for kind in MEDIA_TYPES.values()},
        "headers": {
            NOTES_HEADER: {
                "description": "What was repaired or chosen in the sound: a JSON list of sentences, left out if empty",
                "schema": {"type": "string"},
            }
        },
    }
}

log = logging.getLogger(__name__)

router = APIRouter(tags=["speak"])


@router.post(
    "/v1/avatars/{avatar_id}/speak",
    summary="A sound in, the talking avatar out",
    openapi_extra=BODY,
    responses={**ANSWER, **documented(400, 403, 404, 408, 409, 413, 422, 503)},
    response_class=StreamingResponse,
)
async def speak(
    request: Request,
    avatar_id: str,
    width: Annotated[Side | None, Query(description="Pixels; as recorded if left out")] = None,
    height: Annotated[Side | None, Query(description="Pixels; as recorded if left out")] = None,
    background: Annotated[Background, Query()] = "plate",
    format: Annotated[SpeakFormat, Query(description="`mjpeg` is silent")] = "mp4",
    audio_track: Annotated[
        int | None,
        Query(ge=1, description="Which sound track, from 1; the default one, or the first not silent, if left out"),
    ] = None,
) -> StreamingResponse:
    """Send any sound or video file, as the body or as the multipart field `audio`; a fragmented MP4 (H.264, AAC) comes
    back while it is drawn. `webm` (VP9, Opus) can be transparent: `background=none`. What was repaired or chosen in the
    sound is told in the header `Being-Notes`."""
    started = time.monotonic()
    service: Service = request.app.state.service
    manifest = service.manifest(avatar_id)
    output = _output_format(width or manifest.width, height or manifest.height, background, format, service)
    service.begin_speaking()
    try:
        upload = await receive_upload(request, service.limits.upload_bytes, service.limits.upload_s)
        sound = await asyncio.to_thread(_decode, upload, service.limits.sound_s, audio_track)
        facts = await service.prepare(avatar_id, service.offline)
        job = SpeechJob(service, facts, output, sound.model_pcm, sound.playback_pcm, format)
        await job.open()
    except BaseException as error:
        service.end_speaking()
        if isinstance(error, BeingError):
            raise Problem.of(error, 422) from None
        raise

    async def body() -> AsyncIterator[bytes]:
        first = True
        try:
            async for piece in job.pieces():
                yield piece
                if first:
                    service.meter.observe("being_speak_seconds", time.monotonic() - started, until="first byte")
                    first = False
            service.meter.observe("being_speak_seconds", time.monotonic() - started, until="end")
        finally:
            service.end_speaking()
            await job.close()

    headers = {"Cache-Control": "no-store", **_notes_header(sound)}
    return StreamingResponse(body(), media_type=MEDIA_TYPES[format], headers=headers)


def _output_format(width: int, height: int, background: str, format: SpeakFormat, service: Service) -> OutputFormat:
    width, height = width - width % 2, height - height % 2
    check_size(width, height, service.limits)
    if background == "none" and format != "webm":
        raise Problem(422, f"{format} cannot be transparent", "Choose format=webm, or another background")
    pixel_format = PixelFormat.YUV420 if format == "mp4" else PixelFormat.RGB
    return OutputFormat(width, height, service.backgrounds.named(background), pixel_format)


def _decode(upload: BinaryIO, limit_s: float, track: int | None) -> Sound:
    """The sound of an upload, which is closed. What was repaired is logged."""
    with upload:
        sound = read_sound(upload, track=track, limit_s=limit_s)
    for note in sound.notes:
        log.info("speak: %s", note)
    return sound


def _notes_header(sound: Sound) -> dict[str, str]:
    """The notes as a JSON list in ASCII, as many as a header may hold."""
    said = [str(note) for note in sound.notes]
    while said and len(json.dumps(said)) > NOTES_BYTES:
        said.pop()
    return {NOTES_HEADER: json.dumps(said)} if said else {}


class SpeechJob:
    """One sound being played into bytes: drawing and encoding run ahead of the client by a bounded amount."""

    def __init__(
        self,
        service: Service,
        facts: AvatarFacts,
        output: OutputFormat,
        model_pcm: npt.NDArray[np.float32],
        playback_pcm: npt.NDArray[np.float32],
        format: SpeakFormat,
    ) -> None:
        self._graph = service.offline
        self._pool = service.pool
        self._facts = facts
        self._output = output
        self._model_pcm = model_pcm
        self._playback_pcm = playback_pcm
        self._format = format
        self._ready: deque[bytes] = deque()
        self._held = 0
        self._changed = asyncio.Event()

    async def open(self) -> None:
        """Open the encoders and start drawing."""
        self._loop = asyncio.get_running_loop()
        self._sink = await self._loop.run_in_executor(self._pool, self._open_sink)
        self._drawing = asyncio.create_task(self._draw())
        self._drawing.add_done_callback(lambda _: self._changed.set())

    async def pieces(self) -> AsyncIterator[bytes]:
        """The video's bytes as they are made. A frame that cannot be drawn ends it: the client sees a cut stream."""
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
        graph = _Paced(self._graph, self)
        await perform(graph, self._facts, self._output, self._model_pcm, self._playback_pcm, self._sink, batch=BATCH)
        # What the worker threads emitted was put on this loop before their answer, so all of it is there by now.
        await self._loop.run_in_executor(self._pool, self._sink.close)

    def _open_sink(self) -> MediaSink:
        size = self._output.width, self._output.height
        if self._format == "mjpeg":
            return JpegSink(self._jpeg)
        format = StreamFormat(*size, sound_channels=self._playback_pcm.shape[1])
        clear = isinstance(self._output.background, Transparent)
        if self._format == "webm":
            return WriterSink(WebmStreamWriter(self._emit, format, alpha=clear), alpha=clear)
        return WriterSink(Fmp4Writer(self._emit, format, frames_per_fragment=FRAMES_PER_FRAGMENT))

    def _jpeg(self, index: int, picture: bytes) -> None:
        head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
        self._emit(head.encode() + picture + b"\r\n")

    def _emit(self, piece: bytes) -> None:
        """From a worker thread."""
        self._loop.call_soon_threadsafe(self._put, piece)

    def _put(self, piece: bytes) -> None:
        self._ready.append(piece)
        self._held += len(piece)
        self._changed.set()

    async def room(self) -> None:
        """Wait until the client has taken enough of what is made."""
        while self._held > READY_BYTES:
            await asyncio.sleep(0.05)


class _Paced:
    """The graph, held back while the client does not keep up."""

    def __init__(self, graph: Graph, job: SpeechJob) -> None:
        self._graph = graph
        self._job = job

    async def prepare(self, avatar: str) -> AvatarFacts:
        return await self._graph.prepare(avatar)

    async def submit(self, tick: Sequence[FrameRequest]) -> list[FrameRecord]:
        await self._job.room()
        return await self._graph.submit(tick)
